"""Words as their text writes them: with its punctuation, and with the blanks before them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def written(text: str, words: Sequence[str]) -> list[str]:
    """Find words, which have no punctuation, in order in the text that they are of: joined, what is returned is the
    text, but for blanks at its ends.

    What stands between two words belongs to the one before up to the first blank, and to the next one from there on, so
    that opening quotes and brackets stand before it. Where a word is not to be found, as a library may write it
    otherwise, all are given as they are.
    """
    if not words:
        return []
    text = text.strip()
    spans = _spans(text, words)
    if spans is None:
        return [f" {word}" if number else word for number, word in enumerate(words)]
    cuts = [0]
    for (_, end), (after, _) in itertools.pairwise(spans):
        gap = text[end:after]
        cuts.append(end + next((place for place, character in enumerate(gap) if character.isspace()), len(gap)))
    return [text[start:end] for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True)]


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
