"""Hotwords by their sound, so that a text is compared with those alone that it may hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from frontend.wording.sounds import consonants, latin, readings, spoken
from frontend.wording.tokens import HAN, tokens

# Characters of a phrase.
LONGEST_HOTWORD = 100
# Shorter ones sound like too much: letters of Latin script, syllables of Chinese.
LEAST_LETTERS, LEAST_SYLLABLES = 4, 2
# Words that a phrase may be heard as, beyond its own: `Kubernetes` as `cooper net ease`.
MORE_WORDS = 2


# One is itself alone, which is quick to look up.
@dataclass(frozen=True, eq=False)
class SoundingHotword:
    phrase: str
    letters: str
    sound: str
    code: str
    num_words: int


class HotwordIndex:
    """Hotwords by sound. Two that differ in one consonant share the first half or the last one."""

    def __init__(self, hotwords: Sequence[str]) -> None:
        # As they are written, by their first word.
        self.written: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        self.by_first: dict[tuple[int, str], list[SoundingHotword]] = defaultdict(list)
        self.by_last: dict[tuple[int, str], list[SoundingHotword]] = defaultdict(list)
        self.by_syllables: dict[tuple[object, ...], list[tuple[str, int]]] = defaultdict(list)
        self.lengths: dict[int, None] = {}
        self.most_words = self.most_letters = 0
        for phrase in dict.fromkeys(" ".join(one.split()) for one in hotwords):
            parts = [token.folded for token in tokens(phrase)]
            if not parts or len(phrase) > LONGEST_HOTWORD:
                continue
            self.written[parts[0]].append(tuple(parts))
            if all(map(HAN.fullmatch, parts)):
                self._add_chinese(phrase, parts)
            else:
                self._add_latin(phrase, parts)

    @property
    def is_any(self) -> bool:
        return bool(self.lengths or self.by_syllables)

    def _add_latin(self, phrase: str, parts: Sequence[str]) -> None:
        words = list(map(latin, parts))
        letters = "".join(words)
        if not all(words) or len(letters) < LEAST_LETTERS:
            return
        code = "".join(map(consonants, parts))
        if len(code) < 2:
            return
        one = SoundingHotword(phrase, letters, spoken(letters), code, len(parts))
        first, last = _halves(code, len(code))
        self.by_first[len(code), first].append(one)
        self.by_last[len(code), last].append(one)
        self.lengths[len(code)] = None
        self.most_words = max(self.most_words, len(parts) + MORE_WORDS)
        self.most_letters = max(self.most_letters, len(letters) * 3 // 2)

    def _add_chinese(self, phrase: str, parts: Sequence[str]) -> None:
        count = len(parts)
        if count < LEAST_SYLLABLES or not all(map(readings, parts)):
            return
        # By its first two syllables and its last two: of four one may be another altogether.
        for offset in {0, count - 2}:
            for key in _keys(parts[offset], parts[offset + 1]):
                self.by_syllables[key].append(("".join(parts), offset))

    def near(self, code: str) -> dict[SoundingHotword, None]:
        """Hotwords whose consonants may be these but for one, each once."""
        found: dict[SoundingHotword, None] = {}
        for length in (len(code), len(code) - 1, len(code) + 1):
            if length in self.lengths:
                first, last = _halves(code, length)
                found |= dict.fromkeys(self.by_first.get((length, first), ()))
                found |= dict.fromkeys(self.by_last.get((length, last), ()))
        return found


@lru_cache(maxsize=64)
def indexed(hotwords: tuple[str, ...]) -> HotwordIndex:
    return HotwordIndex(hotwords)


@lru_cache(maxsize=2_000)
def holding(index: HotwordIndex, one: str, other: str) -> list[tuple[str, int]]:
    """Chinese hotwords that may begin, or end, with two characters, each with the place of these in it."""
    return sorted(set().union(*(index.by_syllables.get(key, ()) for key in _keys(one, other))))


def _halves(code: str, length: int) -> tuple[str, str]:
    """Of a code that is taken for one of this length: its beginning and its end."""
    return code[: length // 2], code[len(code) - (length - length // 2) :] if len(code) >= length // 2 else ""


def _keys(one: str, other: str) -> set[tuple[object, ...]]:
    return {(a.near, b.near) for a in readings(one) for b in readings(other)}
