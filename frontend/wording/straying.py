"""Whether what a language model wrote is still the text that it was given, as far as its role promises that."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from frontend.wording.roles import Role
from frontend.wording.tokens import is_unspaced

# Of a role that keeps words: so many of a long text may be other ones, obvious slips; of a shorter text none.
WORDS_PER_SLIP = 100
# Of a role that may write anything, numbers too.
ANYTHING = 1.0
# A number as it is written, with its sign and the marks inside of it: `-3.5`, `9:30`, `1,000`.
NUMBER = re.compile(r"(?:(?<!\w)[-\u2212])?\d+(?:[.,:/\u2019'-]\d+)*")
# Words that turn a sentence round, without case and apostrophes. (English, German, Dutch; French; Spanish, Italian,
# Portuguese; Russian.) In scripts without spaces what does so stands inside of words.
TURNING = """
not no never none nothing nobody nowhere neither nor cannot without
nicht kein keine keinen keinem keiner keines nie niemals niemand nichts nirgends ohne weder niet geen nooit
ne non pas jamais rien sans aucun aucune nul nulle
nunca jamas nada nadie ninguno ninguna ningun ni sin mai niente nulla nessuno nessuna senza nao nem sem
не нет ни никогда ничего никто нельзя без
"""
NEGATIONS = frozenset(TURNING.split())
SHORT_NEGATION = re.compile(r"(?:do|does|did|is|are|was|were|ca|wo|sha|could|would|should|must|have|has|had|need)nt")
UNSPACED_NEGATION = re.compile("[不没沒未勿]|ない|なかった|ません|ぬ|않|없|아니|못")


def strays(text: str, other: str, role: Role) -> bool:
    """Whether `other` is no version of the text that the role may write. Numbers stay what they are, in their order,
    and so do negations, unless it may write anything (`most_changed` 1). Then a role that keeps words has the same
    ones, but for case and marks (a word in a hundred aside); of others the share `most_changed` of the words, and of
    their letters, may be another."""
    from rapidfuzz.distance import Levenshtein

    if role.most_changed >= ANYTHING:
        return False
    if _numbers(text) != _numbers(other):
        return True
    one, two = list(_words(text)), list(_words(other))
    if _negations(one, text) != _negations(two, other):
        return True
    most = max(len(one), len(two))
    most_words = most // WORDS_PER_SLIP if role.keeps_words else int(role.most_changed * most)
    if Levenshtein.distance(one, two, score_cutoff=most_words) > most_words:
        return True
    before, after = "".join(one), "".join(two)
    most_letters = int(role.most_changed * max(len(before), len(after)))
    return bool(Levenshtein.distance(before, after, score_cutoff=most_letters) > most_letters)


def _numbers(text: str) -> list[str]:
    return [found.group().replace("\u2212", "-") for found in NUMBER.finditer(_in_ascii_digits(text))]


def _in_ascii_digits(text: str) -> str:
    """Whatever script they are written in."""
    return re.sub(r"\d", lambda found: str(unicodedata.decimal(found.group())), text)


def _words(text: str) -> Iterator[str]:
    """Without case, marks and apostrophes; characters of scripts without spaces one by one."""
    word = ""
    for character in unicodedata.normalize("NFC", _in_ascii_digits(text)).casefold():
        if is_unspaced(character):
            yield from (word, character) if word else (character,)
            word = ""
        elif unicodedata.category(character)[0] in "LMN":
            word += character
        elif word and character not in "'\u2019":
            yield word
            word = ""
    if word:
        yield word


def _negations(words: list[str], text: str) -> list[str]:
    spaced = [
        "not" if SHORT_NEGATION.fullmatch(word) or word == "cannot" else word
        for word in words
        if word in NEGATIONS or _plain(word) in NEGATIONS or SHORT_NEGATION.fullmatch(word)
    ]
    return spaced + UNSPACED_NEGATION.findall(text)


def _plain(word: str) -> str:
    """Without accents."""
    return "".join(one for one in unicodedata.normalize("NFD", word) if not unicodedata.combining(one))
