"""What a step changes in a text, and what becomes of the words of that text and their times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from frontend.audio.words import Word
from frontend.wording.tokens import PIECE, written_words

# Beyond so many pieces (words, blanks, marks) of either text a difference is one edit: its search grows with both.
MOST_PIECES = 4_000


class WordsLost(ValueError):
    """The words are not those of the text."""


@dataclass(frozen=True)
class Edit:
    """The characters from `start` to `end` of a text, written as `text`."""

    start: int
    end: int
    text: str


def applied(text: str, edits: Sequence[Edit]) -> str:
    """The text with the edits, which are in order and do not overlap."""
    parts, at = [], 0
    for edit in edits:
        parts += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*parts, text[at:]])


def changes(before: str, after: str) -> list[Edit]:
    """The edits that make one text of the other, by whole words (characters, in scripts without spaces)."""
    from rapidfuzz.distance import Levenshtein

    old, new = PIECE.findall(before), PIECE.findall(after)
    if max(len(old), len(new)) > MOST_PIECES:
        return [] if before == after else [Edit(0, len(before), after)]
    places = [0]
    for piece in old:
        places.append(places[-1] + len(piece))
    return [
        Edit(places[op.src_start], places[op.src_end], "".join(new[op.dest_start : op.dest_end]))
        for op in Levenshtein.opcodes(old, new)
        if op.tag != "equal"
    ]


def rewritten(text: str, words: Sequence[Word], edits: Sequence[Edit]) -> tuple[Word, ...]:
    """The words of a text after its edits. Words that became one begin with the first and end with the last of them,
    and are as sure as the least sure one; where they became several others, these share that time by their lengths.
    Raises WordsLost."""
    spans = _spans(text, words)
    made: list[tuple[int, Word]] = []
    index = edited = shift = 0
    while index < len(words):
        start, end = spans[index]
        while edited < len(edits) and _is_before(edits[edited], start):
            shift += len(edits[edited].text) - (edits[edited].end - edits[edited].start)
            edited += 1
        first, first_edit = index, edited
        low, high = start, end
        # All words that these edits touch, and all edits that touch these words.
        while True:
            if edited < len(edits) and _touches(edits[edited], low, high):
                low, high = min(low, edits[edited].start), max(high, edits[edited].end)
                edited += 1
            elif index + 1 < len(words) and spans[index + 1][0] < high:
                index += 1
                high = max(high, spans[index][1])
            else:
                break
        index += 1
        if first_edit == edited:
            made.append((start + shift, words[first]))
            continue
        mine = [Edit(one.start - low, one.end - low, one.text) for one in edits[first_edit:edited]]
        became = applied(text[low:high], mine)
        made += [(low + shift + place, word) for place, word in _shared(words[first:index], became)]
        shift += len(became) - (high - low)
    return _spaced(applied(text, edits), made)


def _spans(text: str, words: Sequence[Word]) -> list[tuple[int, int]]:
    spans, at = [], 0
    for word in words:
        start = text.find(word.word, at)
        # Between words are blanks, and marks at most: what is further away is another word.
        if start < 0 or any(character.isalnum() for character in text[at:start]):
            raise WordsLost("the words are not those of the text")
        at = start + len(word.word)
        spans.append((start, at))
    return spans


def _is_before(edit: Edit, start: int) -> bool:
    """Whether it changes what stands before a word alone; what is put right before one belongs to it."""
    return edit.end < start or (edit.end == start and edit.start < edit.end)


def _touches(edit: Edit, low: int, high: int) -> bool:
    if edit.start == edit.end:
        return low <= edit.start <= high
    return edit.start < high and edit.end > low


def _shared(words: Sequence[Word], became: str) -> list[tuple[int, Word]]:
    pieces = written_words(became)
    own = _same(pieces, words)
    if own is None and len(pieces) == len(words):
        own = list(words)
    if own is not None:
        return [(place, replace(word, word=piece)) for (place, piece), word in zip(pieces, own, strict=True)]
    start, end, sure = words[0].start, words[-1].end, min(word.confidence for word in words)
    total = sum(len(piece) for _, piece in pieces)
    ends, told = [start], 0
    for _, piece in pieces:
        told += len(piece)
        ends.append(start + (end - start) * told / total)
    return [(place, Word(piece, *times, sure)) for (place, piece), times in zip(pieces, pairwise(ends), strict=True)]


def _same(pieces: Sequence[tuple[int, str]], words: Sequence[Word]) -> list[Word] | None:
    """For each piece the word that it is but for its marks; None where one is another."""
    left, own = iter(words), []
    for _, piece in pieces:
        word = next((one for one in left if _letters(one.word) == _letters(piece)), None)
        if word is None:
            return None
        own.append(word)
    return own


def _letters(word: str) -> str:
    return "".join(filter(str.isalnum, word)).casefold()


def _spaced(text: str, made: Sequence[tuple[int, Word]]) -> tuple[Word, ...]:
    """With what stands before each in the text."""
    spaced, at = [], 0
    for place, word in made:
        # Not by dataclasses.replace, which takes longer than all else here.
        spaced.append(Word(word.word, word.start, word.end, word.confidence, text[at:place]))
        at = place + len(word.word)
    return tuple(spaced)
