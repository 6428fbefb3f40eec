"""Words that are left out of a text, or masked in it: whole words of lists, in one pass."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from frontend.wording.edits import Edit
from frontend.wording.headed import NAME, headed_files
from frontend.wording.tokens import Token, is_unspaced, tokens

SHIPPED = Path(__file__).with_name("lists")
DROP, MASK = "drop", "mask"
# How masked words are shown: their first letter, or none.
MASKS = ("first", "all")
MOST_ENTRIES = 20_000
# Words, or characters, of one entry.
MOST_TOKENS = 12
# Before an entry: it is meant where it stands by itself, between marks or at an end, or is said twice.
ALONE = "~"
MARKS = re.compile(r"[^\w\s]")
COMMAS = ",，、"
BLANKS = re.compile(r"\s*")
BEHIND = re.compile(rf"\s*(?:[{COMMAS}]\s*)?")


@dataclass(frozen=True)
class _Entry:
    parts: tuple[str, ...]
    alone: bool


class WordList:
    """What a filter of one name looks for, by language."""

    def __init__(self, action: str) -> None:
        self.action = action
        self._entries: dict[str, dict[str, list[_Entry]]] = {}

    def add(self, code: str, lines: Sequence[str]) -> None:
        """The entries of one language; "" : of all. Raises ValueError."""
        by_first: dict[str, list[_Entry]] = defaultdict(list)
        for line in lines:
            parts = tuple(token.folded for token in tokens(line.removeprefix(ALONE)))
            if not parts or len(parts) > MOST_TOKENS:
                raise ValueError(f"{line[:60]!r} is no entry of 1 to {MOST_TOKENS} words")
            by_first[parts[0]].append(_Entry(parts, line.startswith(ALONE)))
        for entries in by_first.values():
            entries.sort(key=lambda one: -len(one.parts))
        self._entries[code] = dict(by_first)

    def found(self, text: str, code: str) -> Iterator[tuple[int, int]]:
        """Where its words stand: characters from, to; in order, the longest first, none twice."""
        lists = [entries for one in (code, "") if (entries := self._entries.get(one))]
        if not lists:
            return
        run = list(tokens(text))
        place = 0
        while place < len(run):
            entry = next(
                (
                    one
                    for entries in lists
                    for one in entries.get(run[place].folded, ())
                    if _stands(text, run, place, one)
                ),
                None,
            )
            if entry is None:
                place += 1
                continue
            yield run[place].start, run[place + len(entry.parts) - 1].end
            place += len(entry.parts)


def _stands(text: str, run: Sequence[Token], place: int, entry: _Entry) -> bool:
    count = len(entry.parts)
    behind = place + count
    if tuple(token.folded for token in run[place:behind]) != entry.parts:
        return False
    for one, other in zip(run[place : behind - 1], run[place + 1 : behind], strict=True):
        if text[one.end : other.start].strip():
            return False
    start, end = run[place].start, run[behind - 1].end
    # A part of a word that is written with a hyphen is none by itself.
    if text[start - 1 : start] == "-" or text[end : end + 1] == "-":
        return False
    if not entry.alone:
        return True
    if tuple(token.folded for token in run[behind : behind + count]) == entry.parts:
        return not text[end : run[behind].start].strip()
    return _is_edge(text[:start].rstrip()[-1:]) and _is_edge(text[end:].lstrip()[:1])


def _is_edge(character: str) -> bool:
    return not character or bool(MARKS.match(character))


class Filters:
    """All lists of the server, by name."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: a team's own lists, which stand for shipped ones of the same file. Raises FilesWrong."""
        self._lists: dict[str, WordList] = {}
        files = {one.path.name: one for place in (SHIPPED, folder) if place for one in headed_files(place)}
        for file in files.values():
            name, _, code = file.name.partition(".")
            action = file.head.get("action", "")
            if not NAME.fullmatch(name) or action not in (DROP, MASK):
                raise file.wrong(f"it is called NAME.txt or NAME.CODE.txt, and begins with action: {DROP} or {MASK}")
            lines = [line.strip() for line in file.body.splitlines() if line.strip()]
            if len(lines) > MOST_ENTRIES:
                raise file.wrong(f"it has {len(lines)} entries; {MOST_ENTRIES} are the most")
            known = self._lists.setdefault(name, WordList(action))
            if known.action != action:
                raise file.wrong(f"another file of {name} says action: {known.action}")
            try:
                known.add(code, lines)
            except ValueError as error:
                raise file.wrong(str(error)) from error

    @property
    def names(self) -> list[str]:
        return sorted(self._lists)

    def acts(self, names: Sequence[str], action: str) -> list[str]:
        """Which of these do this."""
        return [name for name in names if self._lists[name].action == action]

    def dropped(self, text: str, names: Sequence[str], code: str) -> list[Edit]:
        """The text without the words of these lists and the commas around them. code: of its language."""
        return _without(text, self._spans(text, self.acts(names, DROP), code))

    def masked(self, text: str, names: Sequence[str], code: str, mask: str) -> list[Edit]:
        """The text with those words shown as stars. mask: one of MASKS."""
        spans = self._spans(text, self.acts(names, MASK), code)
        return [Edit(start, end, _stars(text[start:end], mask)) for start, end in spans]

    def _spans(self, text: str, names: Sequence[str], code: str) -> list[tuple[int, int]]:
        spans = sorted(span for name in names for span in self._lists[name].found(text, code))
        kept: list[tuple[int, int]] = []
        for start, end in spans:
            if not kept or start >= kept[-1][1]:
                kept.append((start, end))
        return kept


def _stars(words: str, mask: str) -> str:
    """As many as there are letters; of each word its first one stays where `first` is wanted."""
    shown, is_first = "", True
    for character in words:
        if not character.isalnum():
            shown, is_first = shown + character, True
        else:
            shown, is_first = shown + (character if is_first and mask == "first" else "*"), False
    return shown


def _joined(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans between which nothing stands but blanks and commas, as one."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and not text[joined[-1][1] : start].strip(f" {COMMAS}"):
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return joined


def _without(text: str, spans: Sequence[tuple[int, int]]) -> list[Edit]:
    edits: list[Edit] = []
    for start, end in _joined(text, spans):
        low = edits[-1].end if edits else 0
        left = low + len(text[low:start].rstrip())
        # Blanks and a comma behind it; where its sentence has begun before it, a comma there as well.
        after = _match_end(BEHIND, text, end)
        begins = left == 0 or (text[left - 1] not in COMMAS and bool(MARKS.match(text[left - 1])))
        if begins:
            edits.append(_at_the_beginning(text, start, after, is_first=left == 0))
            continue
        if left > low and text[left - 1] in COMMAS:
            left -= 1
        is_spaced = after < len(text) and not MARKS.match(text[after]) and (text[left].isspace() or after > end)
        edits.append(Edit(left, after, " " if is_spaced and not is_unspaced(text[after]) else ""))
    return edits


def _at_the_beginning(text: str, start: int, after: int, *, is_first: bool) -> Edit:
    """What follows begins the sentence now; where nothing does, its full stop goes as well."""
    rest = text[after : after + 1]
    if is_first and rest and MARKS.match(rest):
        return Edit(start, _match_end(BLANKS, text, after + 1), "")
    if text[start].isupper() and rest.islower():
        return Edit(start, after + 1, rest.upper())
    return Edit(start, after, "")


def _match_end(pattern: re.Pattern[str], text: str, place: int) -> int:
    found = pattern.match(text, place)
    return found.end() if found is not None else place
