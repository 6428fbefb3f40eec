"""Words with their times, and the punctuation of the text that they were found in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A word as it is written, with its punctuation, from `start` to `end` in seconds.

    confidence: 0 to 1. before: what stands between it and the word before: blanks, or nothing.
    """

    word: str
    start: float
    end: float
    confidence: float
    before: str = ""

    @property
    def text(self) -> str:
        return self.before + self.word


@dataclass(frozen=True)
class Place:
    """Where a word that an aligner names is written: its text, and the blanks before it."""

    word: str
    before: str


def placed(text: str, names: Sequence[str]) -> list[Place]:
    """Find words, without punctuation and in order, in the text that they are of: together the places are the whole
    text, but for blanks at its ends.

    What stands between two words belongs to the one before up to the first blank, and to the next one from the last
    blank on. Where a name is not to be found, as a library may write a word otherwise, words are what they are called.
    """
    text = text.strip()
    spans = _spans(text, names)
    if spans is None:
        return [Place(name, " " if number else "") for number, name in enumerate(names)]
    places = []
    begin, before = 0, ""
    for number, (_, end) in enumerate(spans):
        after = spans[number + 1][0] if number + 1 < len(spans) else len(text)
        gap = text[end:after]
        if number + 1 == len(spans):
            places.append(Place(text[begin:], before))
            break
        own = len(gap) if not any(map(str.isspace, gap)) else next(i for i, c in enumerate(gap) if c.isspace())
        rest = gap[own:]
        # Opening quotes and brackets stand before the next word.
        blanks = next((len(rest) - i for i, c in enumerate(reversed(rest)) if c.isspace()), 0)
        places.append(Place(text[begin : end + own], before))
        before, begin = rest[:blanks], end + own + blanks
    return places


def _spans(text: str, names: Sequence[str]) -> list[tuple[int, int]] | None:
    """From each word's first character to the one behind its last; None where one is not there. Characters that are
    not of the word, such as the points of an abbreviation, may stand inside of it."""
    spans = []
    at = 0
    for name in names:
        first = -1
        for character in name:
            at = text.find(character, at)
            if at < 0:
                return None
            first = at if first < 0 else first
            at += 1
        spans.append((first, at))
    return spans
