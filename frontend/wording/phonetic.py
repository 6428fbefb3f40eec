"""Phrases that sound like one that is expected become it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from frontend.wording.edits import Edit
from frontend.wording.sounds import apart, consonants, latin, readings, spoken
from frontend.wording.tokens import HAN, Token, tokens

# Phrases that are compared with; characters of one.
MOST_HOTWORDS, LONGEST_HOTWORD = 200, 100
# Shorter ones sound like too much: letters of Latin script, syllables of Chinese.
LEAST_LETTERS, LEAST_SYLLABLES = 4, 2
# Comparisons for one text: hundreds of hotwords that all sound like all of a text would cost more; what is left of it
# then stays as it is. (The most is 0.1 s; with the names of perf/wording a text of 600 characters takes some hundred.)
MOST_COMPARED = 20_000
# Pairs of characters of which an index remembers what they may belong to.
MOST_PAIRS = 2_000
# Words that a phrase may be heard as, beyond its own: `Kubernetes` as `cooper net ease`.
MORE_WORDS = 2
# Languages in which Chinese characters are read as Mandarin reads them.
READ_AS_MANDARIN = (None, "", "Chinese", "Cantonese")
# English words that are what they are: one that stands alone is seldom a name that was misheard.
COMMON_WORDS = Path(__file__).with_name("common_words.txt")
# A name of several words seldom begins or ends with one of these; what stands beside it often does.
BETWEEN_NAMES = """
a an and are as at be but by can for from had has have he her his if in is it its me my no not of on or our she so than
that the their them they this to us was we were when who will with you your
"""
BETWEEN = frozenset(BETWEEN_NAMES.split())
# Of what two phrases share, measured in perf/wording: the least likeness of spoken spellings by the number of letters,
# where all consonants are alike; what one that differs costs; what several common words in a row have to have.
LIKENESS = ((5, 0.88), (8, 0.84), (100, 0.8))
CONSONANT_COSTS = 0.12
COMMON_WORDS_LIKENESS = 0.86
# The most that syllables are apart on average, by their number.
SYLLABLES_APART = ((2, 0.07), (3, 0.21), (100, 0.3))


@dataclass(frozen=True)
class Heard:
    """heard was taken for phrase, as much alike as `likeness` says, 0 to 1, at `start` to `end` of the text."""

    start: int
    end: int
    heard: str
    phrase: str
    likeness: float


def replacements(text: str, hotwords: Sequence[str], language: str | None = None) -> list[Heard]:
    """What in a text sounds like a hotword and is none: in order, without overlaps, never across a mark. hotwords: of
    Latin script or Chinese; others, and those too short to be told by sound, find nothing. language: by its name."""
    index = _indexed(tuple(hotwords[:MOST_HOTWORDS]))
    if not index.is_any:
        return []
    runs = list(_runs(text))
    taken = _spoken_rightly(text, runs, index)
    work = _Work()
    found: list[Heard] = []
    for run in runs:
        found += _latin(text, run, index, work)
        if language in READ_AS_MANDARIN:
            found += _chinese(text, run, index, work)
    kept: list[Heard] = []
    for one in sorted(found, key=lambda one: (-one.likeness, one.start - one.end)):
        if not any(taken[one.start : one.end]):
            taken[one.start : one.end] = b"\1" * (one.end - one.start)
            kept.append(one)
    return sorted(kept, key=lambda one: one.start)


def as_edits(found: Iterable[Heard]) -> list[Edit]:
    return [Edit(one.start, one.end, one.phrase) for one in found]


class _Work:
    """What may still be compared."""

    def __init__(self) -> None:
        self.left = MOST_COMPARED

    def takes(self, count: int) -> bool:
        self.left -= count
        return self.left >= 0


# One is itself alone, which is quick to look up.
@dataclass(frozen=True, eq=False)
class _Hotword:
    phrase: str
    letters: str
    sound: str
    code: str
    num_words: int


class _Index:
    """Hotwords by sound. Two that differ in one consonant share the first half or the last one."""

    def __init__(self, hotwords: Sequence[str]) -> None:
        # As they are written, by their first word.
        self.written: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        self.by_first: dict[tuple[int, str], list[_Hotword]] = defaultdict(list)
        self.by_last: dict[tuple[int, str], list[_Hotword]] = defaultdict(list)
        self.by_syllables: dict[tuple[object, ...], list[tuple[str, int]]] = defaultdict(list)
        self._holding: dict[tuple[str, str], list[tuple[str, int]]] = {}
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
        one = _Hotword(phrase, letters, spoken(letters), code, len(parts))
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

    def near(self, code: str) -> dict[_Hotword, None]:
        """Hotwords whose consonants may be these but for one, each once."""
        found: dict[_Hotword, None] = {}
        for length in (len(code), len(code) - 1, len(code) + 1):
            if length in self.lengths:
                first, last = _halves(code, length)
                found |= dict.fromkeys(self.by_first.get((length, first), ()))
                found |= dict.fromkeys(self.by_last.get((length, last), ()))
        return found

    def holding(self, one: str, other: str) -> list[tuple[str, int]]:
        """Chinese hotwords that may begin, or end, with two characters, each with the place of these in it."""
        if (known := self._holding.get((one, other))) is None:
            known = sorted(set().union(*(self.by_syllables.get(key, ()) for key in _keys(one, other))))
            self._holding[one, other] = known
            if len(self._holding) > MOST_PAIRS:
                self._holding.pop(next(iter(self._holding)))
        return known


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    return frozenset(COMMON_WORDS.read_text(encoding="utf-8").split())


@lru_cache(maxsize=64)
def _indexed(hotwords: tuple[str, ...]) -> _Index:
    return _Index(hotwords)


def _halves(code: str, length: int) -> tuple[str, str]:
    """Of a code that is taken for one of this length: its beginning and its end."""
    return code[: length // 2], code[len(code) - (length - length // 2) :] if len(code) >= length // 2 else ""


def _keys(one: str, other: str) -> set[tuple[object, ...]]:
    return {(a.near, b.near) for a in readings(one) for b in readings(other)}


def _runs(text: str) -> Iterator[list[Token]]:
    """Words, and characters, between which stand blanks at most."""
    run: list[Token] = []
    for token in tokens(text):
        if run and text[run[-1].end : token.start].strip():
            yield run
            run = []
        run.append(token)
    if run:
        yield run


def _spoken_rightly(text: str, runs: Sequence[Sequence[Token]], index: _Index) -> bytearray:
    """1 for each character of a hotword that stands there already."""
    taken = bytearray(len(text))
    for run in runs:
        folded = tuple(token.folded for token in run)
        for place, token in enumerate(run):
            for parts in index.written.get(token.folded, ()):
                if folded[place : place + len(parts)] == parts:
                    start, end = token.start, run[place + len(parts) - 1].end
                    taken[start:end] = b"\1" * (end - start)
    return taken


def _latin(text: str, run: Sequence[Token], index: _Index, work: _Work) -> Iterator[Heard]:
    if not index.lengths:
        return
    words = [latin(_bare(token.folded)) for token in run]
    codes = [consonants(word) if word else "" for word in words]
    longest = max(index.lengths) + 1
    for first in range(len(run)):
        code = letters = ""
        are_common = True
        for last in range(first, min(len(run), first + index.most_words)):
            if not words[last]:
                break
            code += codes[last]
            letters += words[last]
            if len(code) > longest or len(letters) > index.most_letters:
                break
            are_common = are_common and words[last] in _common()
            if are_common and first == last:
                continue
            if first < last and (words[first] in BETWEEN or words[last] in BETWEEN):
                continue
            best: Heard | None = None
            near = index.near(code)
            if not work.takes(len(near)):
                return
            for hotword in near:
                if abs(last - first + 1 - hotword.num_words) > MORE_WORDS:
                    continue
                likeness = _likeness(hotword, code, letters)
                if are_common and likeness < COMMON_WORDS_LIKENESS:
                    continue
                if likeness and (best is None or likeness > best.likeness):
                    token = run[last]
                    end = token.end - (len(token.folded) - len(_bare(token.folded)))
                    start = run[first].start
                    best = Heard(start, end, text[start:end], hotword.phrase, likeness)
            if best is not None:
                yield best


def _bare(word: str) -> str:
    """Without the ending of a possessor, which a name keeps."""
    return word.removesuffix("'s")


@lru_cache(maxsize=20_000)
def _likeness(hotword: _Hotword, code: str, letters: str) -> float:
    """0 where it is not enough."""
    from rapidfuzz.distance import JaroWinkler, Levenshtein

    costs = CONSONANT_COSTS * Levenshtein.distance(hotword.code, code)
    least = next(least for most, least in LIKENESS if len(hotword.letters) <= most)
    if 1 - costs < least:
        return 0.0
    sound = spoken(letters)
    likeness: float = (
        Levenshtein.normalized_similarity(hotword.sound, sound) + JaroWinkler.similarity(hotword.sound, sound)
    ) / 2
    likeness -= costs
    return likeness if likeness >= least else 0.0


def _chinese(text: str, run: Sequence[Token], index: _Index, work: _Work) -> Iterator[Heard]:
    """The likest for each piece of the text."""
    if not index.by_syllables:
        return
    characters = "".join(token.folded if HAN.fullmatch(token.folded) else " " for token in run)
    likest: dict[tuple[int, int], tuple[float, str]] = {}
    # A phrase of which both ends sound right is compared once.
    compared: set[tuple[str, int]] = set()
    for place in range(len(run) - 1):
        candidates = index.holding(characters[place], characters[place + 1])
        if not work.takes(len(candidates)):
            break
        for phrase, offset in candidates:
            one, count = (phrase, place - offset), len(phrase)
            if one in compared or offset > place:
                continue
            compared.add(one)
            first = place - offset
            heard = characters[first : first + count]
            # Nothing stands between characters of one name.
            if len(heard) < count or run[first + count - 1].end - run[first].start != count:
                continue
            distance = _syllables_apart(phrase, heard)
            if distance is not None and distance < likest.get((first, count), (1.0, ""))[0]:
                likest[first, count] = distance, phrase
    for (first, count), (distance, phrase) in likest.items():
        start, end = run[first].start, run[first + count - 1].end
        yield Heard(start, end, text[start:end], phrase, 1 - distance)


@lru_cache(maxsize=20_000)
def _syllables_apart(phrase: str, heard: str) -> float | None:
    """On average; None where it is too far."""
    most = next(most for length, most in SYLLABLES_APART if len(phrase) <= length)
    total = 0.0
    for place, one in enumerate(phrase):
        total += apart(one, heard[place])
        if total > most * len(phrase) + 1e-6:
            return None
    return total / len(phrase) if total / len(phrase) <= most else None
