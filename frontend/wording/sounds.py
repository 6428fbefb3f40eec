"""How words sound: consonants of Latin script by Metaphone, syllables of Chinese by Pinyin."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

# Metaphone's letters that are often taken for each other, as one. H, W, Y and vowels come and go.
SAME = str.maketrans({"B": "P", "D": "T", "0": "T", "G": "K", "V": "F", "J": "X", "H": "", "W": "", "Y": ""})
VOWELS = re.compile("[AEIOU]")
NOT_LATIN = re.compile("[^a-z]")
# Spellings of one sound, in this order. (English; other languages are read as it would read them.)
SPELLINGS = [
    (re.compile(pattern), sound)
    for pattern, sound in (
        ("ph", "f"), ("gh", "g"), ("ck|cq|q", "k"), ("sch|tch|ch", "x"), ("c(?=[eiy])", "s"), ("c", "k"), ("x$", "ks"),
        ("wh", "w"), ("rh", "r"), ("kn", "n"), ("z", "s"), ("(?<=[aeou])y|w(?![aeiou])", ""), ("y", "i"),
        ("[ei]+[ae]*", "e"), ("[ou]+", "o"), ("a[aei]*", "a"), ("h(?![aeo])", ""), (r"(.)\1+", r"\1"),
        ("e$", ""), ("b", "p"), ("d", "t"), ("v", "f"), ("j", "x"),
    )
]  # fmt: skip
TONES = {"\u0304": 1, "\u0301": 2, "\u030c": 3, "\u0300": 4}
INITIAL = re.compile("[zcs]h|[bpmfdtnlgkhjqxzcsryw]")
# Readings of one character that are looked at; rarer ones are rare.
MOST_READINGS = 3
# Initials and finals that many speakers, and recognizers, do not tell apart.
NEAR_INITIALS = {"zh": "z", "ch": "c", "sh": "s", "n": "l", "r": "l", "h": "f"}
NEAR_FINALS = {"ang": "an", "eng": "en", "ing": "in", "iang": "ian", "uang": "uan", "ong": "ong"}
# Of a syllable that differs in these, in its tone alone, and where a reading is not the usual one; one that is another
# altogether counts 1.
NEAR, OTHER_TONE, UNUSUAL = 0.3, 0.12, 0.15


@lru_cache(maxsize=20_000)
def consonants(word: str) -> str:
    """The classes of the consonants that are heard in a word of Latin script, in order; "" of another script."""
    from jellyfish import metaphone

    letters = latin(word)
    return VOWELS.sub("", metaphone(letters).translate(SAME)) if letters else ""


@lru_cache(maxsize=20_000)
def spoken(letters: str) -> str:
    """A spelling by its sounds, vowels too, roughly: what is spelled differently and sounds alike becomes alike."""
    for pattern, sound in SPELLINGS:
        letters = pattern.sub(sound, letters)
    return letters


@lru_cache(maxsize=20_000)
def latin(word: str) -> str:
    """The letters a to z of a word, without accents; "" where it has others."""
    folded = unicodedata.normalize("NFKD", word.casefold().replace("ß", "ss"))
    bare = "".join(one for one in folded if not unicodedata.combining(one) and one not in "'’-")
    return "" if NOT_LATIN.search(bare) else bare


@dataclass(frozen=True)
class Syllable:
    """Of Mandarin. tone: 1 to 4, 0 the neutral one."""

    initial: str
    final: str
    tone: int

    @property
    def near(self) -> tuple[str, str]:
        """The same for syllables that are taken for each other."""
        return NEAR_INITIALS.get(self.initial, self.initial), NEAR_FINALS.get(self.final, self.final)


@lru_cache(maxsize=20_000)
def readings(character: str) -> tuple[Syllable, ...]:
    """How a Chinese character is read, the usual way first; none where it is no such."""
    told = _table().get(ord(character), "")
    return tuple(map(_syllable, told.split(",")[:MOST_READINGS])) if told else ()


@lru_cache(maxsize=100_000)
def apart(one: str, other: str) -> float:
    """How far two characters are apart in sound, from 0 on, by the readings that are nearest."""
    if one == other:
        return 0.0
    read = (
        (a, b, UNUSUAL * (bool(i) + bool(j)))
        for i, a in enumerate(readings(one))
        for j, b in enumerate(readings(other))
    )
    return min((_apart(a, b) + unusual for a, b, unusual in read), default=1.0)


def _apart(one: Syllable, other: Syllable) -> float:
    if one.near != other.near:
        return 1.0
    differ = (one.initial != other.initial) + (one.final != other.final)
    return NEAR * differ + OTHER_TONE * (one.tone != other.tone)


def _syllable(pinyin: str) -> Syllable:
    letters, tone = "", 0
    for character in unicodedata.normalize("NFD", pinyin):
        if character in TONES:
            tone = TONES[character]
        else:
            letters += character
    letters = unicodedata.normalize("NFC", letters)
    found = INITIAL.match(letters)
    initial = found.group() if found else ""
    return Syllable(initial, letters[len(initial) :], tone)


@lru_cache(maxsize=1)
def _table() -> dict[int, str]:
    """Characters' readings, as marked pinyin. Without the dictionary of phrases, which takes 45 MB."""
    os.environ.setdefault("PYPINYIN_NO_PHRASES", "1")
    from pypinyin.constants import PINYIN_DICT

    return PINYIN_DICT
