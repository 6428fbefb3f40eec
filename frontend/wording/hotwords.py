"""Hotwords of a request: phrases that are written where they may have been said, given as they are or by a list."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from frontend.api.strict_json import is_text, parsed

# As the decoder has them.
MOST_PHRASES, MOST_CHARACTERS, MOST_TEXT = 200, 100, 40_000
LOWEST_WEIGHT, HIGHEST_WEIGHT = 0.1, 10.0
MOST_LISTS, MOST_LIST_NAME = 10, 64
LIST_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MOST_LIST_NAME}}}")
SHAPE = 'a json list such as ["Qwen", {"phrase": "Triton", "weight": 2}], or phrases between commas'


class WrongHotwords(ValueError):
    """What is wrong with a request's hotwords; `param` names the field."""

    def __init__(self, message: str, param: str = "hotwords") -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True)
class Hotword:
    """weight: how much less likely than what would be written without it a phrase may be; 1 is usual. keyword: it is a
    word to expect, and no more than that where the model's engine has no hotwords."""

    phrase: str
    weight: float = 1.0
    keyword: bool = False


def read_hotwords(value: Any) -> list[Hotword]:
    """Hotwords as a client gives them: a list of texts and of objects, its json, or phrases between commas. Raises
    WrongHotwords."""
    if isinstance(value, str):
        if len(value) > MOST_TEXT:
            raise WrongHotwords(f"hotwords has {len(value)} characters; {MOST_TEXT} are the most")
        value = _from_text(value)
    if not isinstance(value, list):
        raise WrongHotwords(f"hotwords must be {SHAPE}")
    if len(value) > MOST_PHRASES:
        raise WrongHotwords(f"hotwords has {len(value)} phrases; {MOST_PHRASES} are the most")
    return [_hotword(one) for one in value]


def _from_text(text: str) -> Any:
    if not text.lstrip().startswith("["):
        return [part for part in re.split(r"[,\n]", text) if part.strip()]
    try:
        return parsed(text)
    except ValueError:
        raise WrongHotwords(f"hotwords must be {SHAPE}") from None


def _hotword(value: Any) -> Hotword:
    fields = value if isinstance(value, dict) else {"phrase": value}
    phrase, weight = fields.get("phrase"), fields.get("weight", 1.0)
    if not set(fields) <= {"phrase", "weight"} or not isinstance(phrase, str) or not phrase.strip():
        raise WrongHotwords("a hotword must be a text, or an object of a phrase and a weight")
    if not is_text(phrase):
        raise WrongHotwords("a hotword holds half a character")
    if len(phrase) > MOST_CHARACTERS:
        raise WrongHotwords(f"a hotword has {len(phrase)} characters; {MOST_CHARACTERS} are the most")
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not is_number or not math.isfinite(weight) or not LOWEST_WEIGHT <= weight <= HIGHEST_WEIGHT:
        raise WrongHotwords(f"a hotword's weight must lie between {LOWEST_WEIGHT:g} and {HIGHEST_WEIGHT:g}")
    return Hotword(" ".join(phrase.split()), float(weight))


class HotwordLists:
    """Named lists of the server: files NAME.txt in a folder, a phrase a line, behind a tab its weight; a line that
    begins with `#` is a remark (`C#` is a name). They are read when they are asked for, and again when they have
    changed."""

    def __init__(self, folder: Path | None) -> None:
        """folder: None where the server has no lists."""
        self._folder = folder
        self._read: dict[Path, tuple[tuple[int, int], list[Hotword]]] = {}

    @property
    def names(self) -> list[str]:
        if self._folder is None or not self._folder.is_dir():
            return []
        return sorted(path.stem for path in self._folder.glob("*.txt") if LIST_NAME.fullmatch(path.stem))

    def named(self, names: Sequence[str]) -> list[Hotword]:
        """Of all these lists. Raises WrongHotwords where one is not known, or not what a list should be."""
        if len(names) > MOST_LISTS:
            raise WrongHotwords(f"hotword_lists names {len(names)}; {MOST_LISTS} are the most", "hotword_lists")
        return [hotword for name in names for hotword in self._one(name)]

    def _one(self, name: str) -> list[Hotword]:
        if self._folder is None or not LIST_NAME.fullmatch(name):
            raise _no_list(name)
        path = self._folder / f"{name}.txt"
        try:
            status = path.stat()
            version = status.st_mtime_ns, status.st_size
            known = self._read.get(path)
            if known is None or known[0] != version:
                if status.st_size > 4 * MOST_TEXT:
                    raise WrongHotwords(f"the hotword list {name} is longer than a request may be", "hotword_lists")
                known = version, [_hotword_of_line(name, line) for line in _lines(path.read_text("utf-8-sig"))]
                self._read[path] = known
        except (OSError, UnicodeError):
            raise _no_list(name) from None
        return known[1]


def _no_list(name: str) -> WrongHotwords:
    return WrongHotwords(f"there is no hotword list named {name[:MOST_LIST_NAME]!a} here", "hotword_lists")


def _lines(text: str) -> Iterable[str]:
    return (line for raw in text.splitlines() if (line := raw.strip()) and not line.startswith("#"))


def _hotword_of_line(name: str, line: str) -> Hotword:
    phrase, _, weight = line.partition("\t")
    try:
        return _hotword({"phrase": phrase, "weight": float(weight or 1)})
    except ValueError as error:
        raise WrongHotwords(f"the hotword list {name} is wrong: {error}", "hotword_lists") from None


def all_hotwords(given: Sequence[Hotword], listed: Sequence[Hotword], keywords: Sequence[str] = ()) -> list[Hotword]:
    """Each phrase once, as it was first given. Keywords are hotwords too, those that are no longer than one may be.
    Raises WrongHotwords where they are too many."""
    short = [word for word in keywords if word.strip() and len(word) <= MOST_CHARACTERS]
    usual = [Hotword(" ".join(word.split()), keyword=True) for word in short]
    found: dict[str, Hotword] = {}
    for hotword in (*given, *listed, *usual):
        found.setdefault(hotword.phrase, hotword)
    hotwords = list(found.values())
    if len(hotwords) > MOST_PHRASES:
        named = "hotwords, hotword_lists and keywords"
        raise WrongHotwords(f"{named} have {len(hotwords)} phrases; {MOST_PHRASES} are the most")
    return hotwords


def as_parameter(hotwords: Sequence[Hotword]) -> str:
    """As the decoder's parameter `hotwords` has them; "" without any."""
    if not hotwords:
        return ""
    usual = Hotword("")
    values = [{name: value for name, value in asdict(one).items() if value != getattr(usual, name)} for one in hotwords]
    return json.dumps(values, ensure_ascii=False)
