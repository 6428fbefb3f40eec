"""What a request, or a live session, wants of its text, checked: every mistake names its field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from frontend.wording.filters import MASKS
from frontend.wording.roles import USUAL, Role

RECOGNIZED, WRITTEN = "recognized", "written"
TEXT_FORMATS = (RECOGNIZED, WRITTEN)
# By these names a live session sets them, among its other settings.
SETTINGS = ("text_format", "phonetic", "filters", "mask", "correct")
MOST_FILTERS, MOST_NAME = 20, 64
NO_CORRECTION = "correction_unavailable"
NO_CORRECTION_HERE = "texts are not corrected here: no chat endpoint is set (ASR_CORRECTION_URL, ASR_CORRECTION_MODEL)"
TRUTHS = {"true": True, "1": True, "false": False, "0": False, "": False}


class WordingMistake(ValueError):
    """A field that cannot be served; `param` is its name, `code` a short one of the mistake."""

    def __init__(self, param: str, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


@dataclass(frozen=True)
class Wanted:
    """text_format: recognized or written; phonetic: what sounds like one of the hotwords becomes it; filters: lists of
    words, by name; mask: how those that are masked are shown; role: of a language model, None: none is asked."""

    text_format: str = RECOGNIZED
    phonetic: bool = False
    filters: tuple[str, ...] = ()
    mask: str = MASKS[0]
    role: Role | None = None
    hotwords: tuple[str, ...] = ()

    @property
    def rewrites(self) -> bool:
        """Whether the text may become another one."""
        return self.forms or self.corrects

    @property
    def forms(self) -> bool:
        """Whether there is a step that needs no language model."""
        return self.text_format != RECOGNIZED or self.phonetic or bool(self.filters)

    @property
    def corrects(self) -> bool:
        return self.role is not None and self.role.rewrites

    @property
    def tells(self) -> bool:
        """Whether something is told about the whole text."""
        return self.role is not None and not self.role.rewrites

    @property
    def named(self) -> str:
        """A field that makes another text of it, for messages."""
        given = {"text_format": self.text_format != RECOGNIZED, "phonetic": self.phonetic}
        given |= {"filters": bool(self.filters), "correct": self.corrects}
        return next((name for name, is_given in given.items() if is_given), "")


def checked(
    given: Mapping[str, Any],
    filters: Sequence[str],
    roles: Mapping[str, Role],
    *,
    has_endpoint: bool,
    hotwords: Sequence[str] = (),
    is_live: bool = False,
) -> Wanted:
    """given: by the names of SETTINGS, of which any may be left out; filters: the server's lists; is_live: there is no
    whole text that anything could be told about. Raises WordingMistake."""
    text_format = given.get("text_format") or RECOGNIZED
    if text_format not in TEXT_FORMATS:
        raise WordingMistake("text_format", f"text_format must be one of {', '.join(TEXT_FORMATS)}")
    mask = given.get("mask") or MASKS[0]
    if mask not in MASKS:
        raise WordingMistake("mask", f"mask must be one of {', '.join(MASKS)}")
    names = _names(given.get("filters"))
    unknown = next((name for name in names if name not in filters), None)
    if unknown is not None:
        known = ", ".join(filters)
        raise WordingMistake("filters", f"there is no filter {unknown[:MOST_NAME]!a}; known are {known}")
    role = _role(given.get("correct"), roles, has_endpoint=has_endpoint)
    if role is not None and is_live and not role.rewrites:
        message = f"{role.name} tells about a whole text, which a live session has not"
        raise WordingMistake("correct", message)
    return Wanted(text_format, _truth("phonetic", given.get("phonetic")), names, mask, role, tuple(hotwords))


def _role(wanted: Any, roles: Mapping[str, Role], *, has_endpoint: bool) -> Role | None:
    if wanted is not None and not isinstance(wanted, str | bool):
        raise WordingMistake("correct", "correct must be true, false or the name of a role")
    name = str(wanted or "").strip()
    if TRUTHS.get(name.lower(), True) is False:
        return None
    name = USUAL if name.lower() in TRUTHS else name
    if not has_endpoint:
        raise WordingMistake("correct", NO_CORRECTION_HERE, NO_CORRECTION)
    if name not in roles:
        known = ", ".join(roles)
        raise WordingMistake("correct", f"there is no role {name[:MOST_NAME]!a}; known are {known}")
    return roles[name]


def _truth(param: str, value: Any) -> bool:
    found = value if isinstance(value, bool) else TRUTHS.get(str(value if value is not None else "").lower())
    if found is None:
        raise WordingMistake(param, f"{param} must be true or false")
    return found


def _names(given: Any) -> tuple[str, ...]:
    """Of a list, or of a text with commas, as an address has it."""
    parts = given.split(",") if isinstance(given, str) else given or ()
    if not isinstance(parts, list | tuple) or not all(isinstance(one, str) for one in parts):
        raise WordingMistake("filters", "filters must be a list of names")
    names = tuple(dict.fromkeys(name.strip() for part in parts for name in part.split(",") if name.strip()))
    if len(names) > MOST_FILTERS:
        raise WordingMistake("filters", f"filters names {len(names)}; {MOST_FILTERS} are the most")
    return names
