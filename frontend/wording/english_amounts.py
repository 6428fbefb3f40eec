"""Amounts, measures, fractions and numbers by themselves in spoken English, as they are written."""

from __future__ import annotations

from collections.abc import Sequence

from frontend.wording.english_numbers import DECADES, DIGITS, Found, Number, ordinal, read, value_of, word_at
from frontend.wording.grammar import written

CURRENCIES = {
    "dollar": "$", "dollars": "$", "bucks": "$", "euro": "€", "euros": "€", "pound": "£", "pounds": "£", "yen": "¥",
    "yuan": "¥", "rupee": "₹", "rupees": "₹",
}  # fmt: skip
ALWAYS = ["twenty", "four", "seven"]
CENTS = ("cent", "cents", "pence")
PARTS = {"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fifth": 5, "fifths": 5,
         "sixths": 6, "eighth": 8, "eighths": 8, "tenth": 10, "tenths": 10}  # fmt: skip
# Of two words or three; a unit of one is asked of the grammar.
LONG_UNITS = ("miles per hour", "kilometers per hour", "meters per second", "square meters", "square feet",
              "square kilometers", "square miles", "cubic meters")  # fmt: skip
ONE_WORD_UNITS = """
kilometers kilometer meters meter centimeters centimeter millimeters millimeter miles mile feet foot inches inch
kilograms kilogram grams gram milligrams milligram ounces ounce tons ton milliliters milliliter gigahertz megahertz
kilohertz hertz gigabytes gigabyte megabytes megabyte kilobytes kilobyte terabytes terabyte volts volt watts watt
kilowatts kilowatt megawatts amperes
"""
UNITS = frozenset(ONE_WORD_UNITS.split())
# As they are written where the grammar writes small letters.
CAPITALS = {"gb": "GB", "mb": "MB", "kb": "KB", "tb": "TB", "ghz": "GHz", "mhz": "MHz", "khz": "kHz", "hz": "Hz",
            "v": "V", "w": "W", "kw": "kW", "mw": "MW"}  # fmt: skip
# What a number of anything stands before.
COUNTED = UNITS | CURRENCIES.keys() | {"percent", "degrees"}


def fraction(said: Sequence[str], place: int) -> Found:
    number = read(said, place)
    if number is None or number.num_groups != 1 or number.behind >= len(said):
        return None
    if list(said[number.behind : number.behind + 3]) == ["and", "a", "half"]:
        return number.behind + 3, f"{number.digits}.5"
    value, part = value_of(number), PARTS.get(said[number.behind])
    if part is None or value is None or not 0 < value < part or (value > 1) != said[number.behind].endswith("s"):
        return None
    return number.behind + 1, f"{value}/{part}"


def amount(said: Sequence[str], place: int) -> Found:
    number = _signed(said, place)
    if number is None or number.behind >= len(said):
        return None
    unit = said[number.behind]
    if unit in CENTS:
        return number.behind + 1, f"{number.digits} {unit}"
    if unit not in CURRENCIES:
        return None
    amount, behind = number.digits, number.behind + 1
    rest = behind + (word_at(said, behind) == "and")
    cents = read(said, rest) if rest < len(said) else None
    value = value_of(cents) if cents is not None and cents.num_groups == 1 else None
    if cents is not None and value is not None and value < 100 and amount.isdigit():
        if word_at(said, cents.behind) in CENTS:
            amount, behind = f"{amount}.{value:02}", cents.behind + 1
        elif rest == behind and value > 9:
            amount, behind = f"{amount}.{value:02}", cents.behind
    sign = "-" if amount.startswith("-") else ""
    return behind, f"{sign}{CURRENCIES[unit]}{amount.removeprefix('-')}"


def measure(said: Sequence[str], place: int) -> Found:
    number = _signed(said, place)
    if number is None or number.behind >= len(said):
        return None
    behind = number.behind
    if said[behind] in ("percent", "per") and (said[behind] == "percent" or word_at(said, behind + 1) == "cent"):
        return behind + (1 if said[behind] == "percent" else 2), f"{number.digits}%"
    if said[behind] in ("degree", "degrees"):
        if (scale := word_at(said, behind + 1)) in ("celsius", "fahrenheit"):
            return behind + 2, f"{number.digits} °{scale[0].upper()}"
        return behind + 1, f"{number.digits}°"
    unit = next(
        (one for one in LONG_UNITS if list(said[behind : behind + len(one.split())]) == one.split()), said[behind]
    )
    if unit not in UNITS and unit not in LONG_UNITS:
        return None
    if unit in ("foot", "feet") and (inches := read(said, behind + 1)) is not None and inches.num_groups == 1:
        return inches.behind, f"{number.digits} ft {inches.digits}"
    _, _, short = written("en", f"twenty {unit}").partition("20 ")
    if not short:
        return None
    return behind + len(unit.split()), f"{number.digits} {CAPITALS.get(short, short)}"


def _signed(said: Sequence[str], place: int) -> Number | None:
    is_less = said[place] in ("minus", "negative") and place + 1 < len(said)
    number = read(said, place + is_less)
    return number.less() if number is not None and is_less else number


def serial(said: Sequence[str], place: int) -> Found:
    """A number by itself. Small ones stay words, as do two that are no number together."""
    if (found := ordinal(said, place)) is not None:
        return (found[0], found[1] + _ending(int(found[1]))) if int(found[1]) > 9 else None
    decade = DECADES.get(said[place + 1]) if place + 1 < len(said) else None
    if decade is not None and (century := DIGITS.get(said[place], 20 if said[place] == "twenty" else 0)) >= 10:
        return place + 2, f"{century}{decade}s"
    number = _signed(said, place)
    if number is None or number.stays:
        return None
    return (number.behind, "24/7") if list(said[place : number.behind]) == ALWAYS else (number.behind, number.digits)


def _ending(value: int) -> str:
    if 10 <= value % 100 <= 20:
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
