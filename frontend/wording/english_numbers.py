"""Spoken English numbers: as amounts, and as digits one by one, in pairs, or as years."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
DIGITS = {word: value for value, word in enumerate((*ONES, *TEENS))}
TENFOLD = {word: 20 + 10 * value for value, word in enumerate(TENS)}
NUMBERS = {*DIGITS, *TENFOLD, "oh", "o"}
SCALES = ("hundred", "thousand", "million", "billion", "trillion")
LARGE = SCALES[2:]
TIMES = {"double": 2, "triple": 3}
MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
          "december")  # fmt: skip
FIRST_ORDINALS = """
first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth
sixteenth seventeenth eighteenth nineteenth twentieth
"""
ORDINALS = {
    **{word: value for value, word in enumerate(FIRST_ORDINALS.split(), 1)},
    **{f"{word[:-1]}ieth": value for word, value in TENFOLD.items()},
    "hundredth": 100,
    "thousandth": 1000,
}
# Digits one by one from so many on are a number: of a telephone, a room, a code.
LEAST_DIGITS = 3
DECADES = {f"{word[:-1]}ies": value for word, value in TENFOLD.items()}
# Words of one number; more are none that anybody reads.
MOST_WORDS = 40
# Digits of an amount from which on thousands are set apart.
SET_APART = 5


# The place behind the words that are taken, and what they are written as; None where they are not meant.
Found = tuple[int, str] | None


def word_at(said: Sequence[str], place: int) -> str:
    """ "" behind the end."""
    return said[place] if place < len(said) else ""


@dataclass(frozen=True)
class Number:
    """behind: the place after its last word; digits: as it is written; num_groups: of how many numbers it is made
    (`twenty twenty four` is two); stays: by itself it is written in words."""

    behind: int
    digits: str
    num_groups: int = 1
    stays: bool = False

    def less(self) -> Number:
        return replace(self, digits=f"-{self.digits}", stays=False)


def value_of(number: Number | None) -> int | None:
    return int(number.digits) if number is not None and number.digits.isdigit() else None


def read(said: Sequence[str], place: int) -> Number | None:
    """The number that is said from this place on, in words of lower case; None where none is."""
    behind = _behind(said, place)
    if behind == place:
        return None
    words = list(said[place:behind])
    if "point" in words:
        return _with_point(words, behind)
    if any(word in SCALES for word in words):
        return _amount(words, behind)
    groups = _groups(words)
    if len(groups) == 1:
        value = int(groups[0])
        return Number(behind, groups[0], stays=value < 10 or words in (["ten"],))
    return Number(behind, "".join(groups), len(groups), stays=_is_none(words, groups))


def ordinal(said: Sequence[str], place: int) -> tuple[int, str] | None:
    """The place behind an ordinal, and its number in digits: `third`, `twenty first`, `one hundred and fifth`."""
    behind = place
    while behind < len(said) and behind - place < MOST_WORDS:
        if said[behind] in ORDINALS:
            words = [word for word in said[place:behind] if word != "and"]
            before = int(_digits(words)) if words else 0
            own = ORDINALS[said[behind]]
            if words and (own >= 100 or (own >= 10 and before % 100)):
                return (behind + 1, str(before * own)) if own >= 100 else None
            if words and own < 10 and before % 10:
                return None
            return behind + 1, str(before + own)
        is_more = said[behind] in TENFOLD or said[behind] in SCALES or said[behind] in DIGITS or said[behind] == "and"
        if not is_more:
            return None
        behind += 1
    return None


def _behind(said: Sequence[str], place: int) -> int:
    """Where a number that begins here ends."""
    at = place
    while at < len(said) and at - place < MOST_WORDS:
        word, after = said[at], said[at + 1] if at + 1 < len(said) else ""
        before = said[at - 1] if at > place else ""
        if (
            word in DIGITS
            or word in TENFOLD
            or (word in SCALES and (before in DIGITS or before in TENFOLD or before in SCALES))
            or (word == "and" and before in SCALES and (after in DIGITS or after in TENFOLD))
            or (word == "point" and _is_digit(after) and (before in DIGITS or before in TENFOLD or not before))
            or (
                word in ("oh", "o")
                and (_is_digit(after) or _is_digit(before))
                and (at == place or before in NUMBERS or before in TIMES)
            )
            or (word in TIMES and _is_digit(after))
        ):
            at += 1
        else:
            break
    if at > place and said[at - 1] in ("oh", "o") and said[at - 2] not in DIGITS:
        at -= 1
    return at


def _is_digit(word: str) -> bool:
    return word in ("oh", "o") or DIGITS.get(word, 99) < 10


def _digits(words: Sequence[str]) -> str:
    """An amount: what stands before a scale is so many of it. (By the grammar it would be a millisecond a number.)"""
    total = below = 0
    for word in words:
        if word == "hundred":
            below *= 100
        elif word in SCALES:
            total, below = total + below * 1000 ** SCALES.index(word), 0
        elif word != "and":
            below += int(_alone(word))
    return str(total + below)


def _alone(word: str) -> str:
    return str(DIGITS.get(word, TENFOLD.get(word, 0)))


def _with_point(words: list[str], behind: int) -> Number:
    scale = words[-1] if words[-1] in LARGE else ""
    parts: list[list[str]] = [[]]
    for word in words[: -1 if scale else None]:
        parts = [*parts, []] if word == "point" else [*parts[:-1], [*parts[-1], word]]
    whole, *fractions = parts
    # Of a version there may be several.
    digits = ".".join([_digits(whole) if whole else "0", *("".join(_groups(one)) for one in fractions)])
    return Number(behind, f"{digits} {scale}" if scale else digits)


def _amount(words: list[str], behind: int) -> Number:
    if sum(map(_is_digit, words)) >= 7 and "hundred" in words and not set(words) & set(SCALES[1:]):
        # one eight hundred five five five …: of a telephone.
        serial = [group for word in words for group in (["00"] if word == "hundred" else [_alone(word)])]
        return Number(behind, "".join(serial), len(serial))
    if words[-1] in LARGE and not any(word in LARGE for word in words[:-1]):
        return Number(behind, f"{_apart(_digits(words[:-1]))} {words[-1]}")
    return Number(behind, _apart(_digits(words)))


def _apart(digits: str) -> str:
    return f"{int(digits):,}" if digits.isdigit() and len(digits) >= SET_APART else digits


def _groups(words: Sequence[str]) -> list[str]:
    """Each number of a series that is read one after the other."""
    groups: list[str] = []
    times = 1
    is_tens = False
    for word in words:
        if word in TIMES:
            times = TIMES[word]
            continue
        if is_tens and 0 < DIGITS.get(word, 0) < 10:
            groups[-1] = str(int(groups[-1]) + DIGITS[word])
        else:
            groups += [_alone(word)] * times
        is_tens, times = word in TENFOLD, 1
    return groups


def _is_none(words: Sequence[str], groups: Sequence[str]) -> bool:
    """Whether numbers in a row are no number: `fifty fifty`, `two three`, `one two three go` is one."""
    if words[0] in ("oh", "o") and len(groups) < LEAST_DIGITS:
        return True
    if len(groups) == 2:
        if groups[0] == groups[1] and groups[0] != "20":
            return True
        return len(groups[0]) == len(groups[1]) == 1 and "0" not in groups
    return False
