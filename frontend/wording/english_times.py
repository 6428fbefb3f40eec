"""Dates and times of day in spoken English, as they are written."""

from __future__ import annotations

import re
from collections.abc import Sequence

from frontend.wording.english_amounts import COUNTED
from frontend.wording.english_numbers import DIGITS, MONTHS, Found, ordinal, read, value_of, word_at

MORNING_OR_NOT = re.compile(r"([ap])\.?\s?m\.?$")
# Behind these two numbers are a time.
BEFORE_A_TIME = ("at", "by", "until", "till", "before", "after", "around", "from", "since")
BEFORE_A_DATE = ("on", "by", "until", "till", "before", "after", "from", "since", "last", "next", "this")
# Behind these `five to ten` is a time, and no range.
BEFORE_MINUTES = (*BEFORE_A_TIME, "is", "it's", "was", "about", "nearly", "almost")
# By themselves these numbers of minutes make a time of two numbers, as others do not: `five thirty`, and `one twenty`.
USUAL_MINUTES = (15, 30, 45)
# Words as well as months: a number behind them makes a date where they are written as months.
WORDS_TOO = ("may", "march")


def date(said: Sequence[str], place: int, written: str) -> Found:
    """March third, March 2024, the third of March. said: words, in lower case; written: the one at this place as it
    stands there. The place behind it, and what it is written as; None where none begins here."""
    if said[place] in MONTHS:
        month = said[place].capitalize()
        if place + 1 < len(said):
            is_month = written[0].isupper() or said[place] not in WORDS_TOO
            day = _day(said, place + 1, spoken_as_number=is_month)
            if day is not None:
                behind, number = day
                year = _year(said, behind)
                if not (is_month or year or place == 0 or said[place - 1] in BEFORE_A_DATE):
                    # You may first go.
                    return None
                return (year[0], f"{month} {number}, {year[1]}") if year else (behind, f"{month} {number}")
            year = _year(said, place + 1)
            return (year[0], f"{month} {year[1]}") if year else None
        return None
    first = place + (said[place] == "the")
    day = _day(said, first, spoken_as_number=False) if first < len(said) else None
    if day is None:
        return None
    behind, number = day
    behind += behind < len(said) and said[behind] == "of"
    if behind >= len(said) or said[behind] not in MONTHS:
        return None
    month = said[behind].capitalize()
    year = _year(said, behind + 1)
    return (year[0], f"{number} {month} {year[1]}") if year else (behind + 1, f"{number} {month}")


def _day(said: Sequence[str], place: int, *, spoken_as_number: bool) -> tuple[int, int] | None:
    found = ordinal(said, place)
    if found is None and spoken_as_number and (number := read(said, place)) is not None and number.num_groups == 1:
        found = number.behind, number.digits
    if found is None or not found[1].isdigit() or not 1 <= int(found[1]) <= 31:
        return None
    return found[0], int(found[1])


def _year(said: Sequence[str], place: int) -> tuple[int, str] | None:
    number = read(said, place) if place < len(said) else None
    is_year = number is not None and number.digits.isdigit() and len(number.digits) == 4
    return (number.behind, number.digits) if number is not None and is_year and number.digits < "2200" else None


def clock(said: Sequence[str], place: int) -> Found:
    """half past nine, twenty to five, five thirty p.m.; answers as `date` does."""
    first = place + (said[place] == "a" and word_at(said, place + 1) == "quarter")
    if first + 2 < len(said) and said[first + 1] in ("past", "to") and said[first] in ("half", "quarter"):
        minutes: int | None = 30 if said[first] == "half" else 15
        relation = first + 1
    else:
        number = read(said, first)
        minutes = value_of(number) if number is not None and number.num_groups == 1 else None
        relation = number.behind if number is not None else first
        is_range = word_at(said, relation) == "to" and not (place and said[place - 1] in BEFORE_MINUTES)
        if word_at(said, relation) in ("minutes", "minute"):
            relation += 1
        if word_at(said, relation) not in ("past", "to") or minutes not in (5, 10, 20, 25) or is_range:
            return _plain_clock(said, place)
    hour = _hour(said, relation + 1)
    if hour is None or minutes is None or (said[relation] == "to" and minutes == 30):
        return None
    behind, value = hour
    if said[relation] == "to":
        value, minutes = (value - 2) % 12 + 1, 60 - minutes
    return _with_noon(said, behind, f"{value}:{minutes:02}")


def _plain_clock(said: Sequence[str], place: int) -> Found:
    """five thirty p.m., at five thirty, five o'clock."""
    hour = _hour(said, place)
    if hour is None:
        return None
    behind, value = hour
    if word_at(said, behind) == "o'clock":
        return _with_noon(said, behind + 1, f"{value}:00")
    minutes = _minutes(said, behind)
    if minutes is not None and (answer := _noon(said, minutes[0])) is not None:
        return answer[0], f"{value}:{minutes[1]:02} {answer[1]}"
    if (answer := _noon(said, behind)) is not None:
        return answer[0], f"{value} {answer[1]}"
    whole = read(said, place)
    if minutes is None or whole is None or whole.behind != minutes[0] or word_at(said, minutes[0]) in COUNTED:
        return None
    is_time = (place > 0 and said[place - 1] in BEFORE_A_TIME) or minutes[1] in USUAL_MINUTES
    return (minutes[0], f"{value}:{minutes[1]:02}") if is_time else None


def _hour(said: Sequence[str], place: int) -> tuple[int, int] | None:
    if place < len(said) and said[place] in DIGITS and 1 <= DIGITS[said[place]] <= 12:
        return place + 1, DIGITS[said[place]]
    return None


def _minutes(said: Sequence[str], place: int) -> tuple[int, int] | None:
    if word_at(said, place) == "oh" and place + 1 < len(said) and 0 < DIGITS.get(said[place + 1], 0) < 10:
        return place + 2, DIGITS[said[place + 1]]
    number = read(said, place) if place < len(said) else None
    value = value_of(number) if number is not None and number.num_groups == 1 else None
    return (number.behind, value) if number is not None and value is not None and 10 <= value < 60 else None


def _noon(said: Sequence[str], place: int) -> tuple[int, str] | None:
    if place >= len(said):
        return None
    if said[place] in ("a", "p") and word_at(said, place + 1) == "m":
        return place + 2, f"{said[place]}.m."
    found = MORNING_OR_NOT.fullmatch(said[place])
    return (place + 1, f"{found[1]}.m.") if found else None


def _with_noon(said: Sequence[str], place: int, time: str) -> Found:
    noon = _noon(said, place)
    return (noon[0], f"{time} {noon[1]}") if noon else (place, time)
