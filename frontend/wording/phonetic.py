"""Phrases that sound like one that is expected become it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from frontend.wording.edits import Edit
from frontend.wording.hotword_index import MORE_WORDS, HotwordIndex, SoundingHotword, holding, indexed
from frontend.wording.sounds import apart, consonants, latin, spoken
from frontend.wording.tokens import HAN, Token, tokens

# Phrases that are compared with.
MOST_HOTWORDS = 200
# Comparisons for one text: hundreds of hotwords that all sound like all of a text would cost more; what is left of it
# then stays as it is. (These take 0.1 s; with the names of perf/wording a text of 600 characters takes a hundred.)
MOST_COMPARED = 20_000
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
    index = indexed(tuple(hotwords[:MOST_HOTWORDS]))
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


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    return frozenset(COMMON_WORDS.read_text(encoding="utf-8").split())


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


def _spoken_rightly(text: str, runs: Sequence[Sequence[Token]], index: HotwordIndex) -> bytearray:
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


def _latin(text: str, run: Sequence[Token], index: HotwordIndex, work: _Work) -> Iterator[Heard]:
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
def _likeness(hotword: SoundingHotword, code: str, letters: str) -> float:
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


def _chinese(text: str, run: Sequence[Token], index: HotwordIndex, work: _Work) -> Iterator[Heard]:
    """The likest for each piece of the text."""
    if not index.by_syllables:
        return
    characters = "".join(token.folded if HAN.fullmatch(token.folded) else " " for token in run)
    likest: dict[tuple[int, int], tuple[float, str]] = {}
    # A phrase of which both ends sound right is compared once.
    compared: set[tuple[str, int]] = set()
    for place in range(len(run) - 1):
        candidates = holding(index, characters[place], characters[place + 1])
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
