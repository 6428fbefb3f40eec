"""The written form of English: numbers, dates, times, amounts and addresses, each where it is said."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from frontend.wording.edits import Edit
from frontend.wording.english_amounts import amount, fraction, measure, serial
from frontend.wording.english_numbers import read
from frontend.wording.english_times import clock, date

WORD = re.compile(r"[ap]\.\s?m\b\.?|[A-Za-z]+(?:['’][A-Za-z]+)*")
JOINED = re.compile(r"[ \t]|-")
# Each is told the words and a place, and answers with the place behind those it takes and what they are written as.
RULES = (clock, fraction, amount, measure, serial)
DOMAIN = r"[A-Za-z0-9-]+(?: dot [A-Za-z0-9-]+)* dot (?:com|org|net|edu|gov|info|io|ai|dev|co|uk|de|fr|cn|jp|eu)"
USER = r"[A-Za-z0-9]+(?: (?:dot|underscore|dash) [A-Za-z0-9]+)*"
ADDRESS = re.compile(rf"\b(?:(?P<user>{USER}) at )?(?P<domain>{DOMAIN})\b", re.IGNORECASE)
# Somebody is not looking at a site, but has an address there.
ABOUT_MAIL = re.compile(r"\b(?:e-?mail|mail|address|write|contact|reach)\b", re.IGNORECASE)
CLAUSE = re.compile("[,.;:?!]")


def edits(text: str) -> list[Edit]:
    """What of an English text is written otherwise than it is said; in order."""
    made = list(_addresses(text))
    for words in _stretches(text):
        said = [word.group().lower().replace("’", "'") for word in words]
        place = 0
        while place < len(words):
            answer = date(said, place, words[place].group())
            answer = answer or next((found for rule in RULES if (found := rule(said, place)) is not None), None)
            if answer is None:
                place = _behind_what_stays(said, place)
                continue
            behind, became = answer
            start, end = words[place].start(), words[behind - 1].end()
            if became != text[start:end] and not any(one.start < end and start < one.end for one in made):
                made.append(Edit(start, end, became))
            place = behind
    return sorted(made, key=lambda one: one.start)


def _addresses(text: str) -> Iterator[Edit]:
    for one in ADDRESS.finditer(text):
        domain = one["domain"].replace(" dot ", ".")
        if one["user"] and ABOUT_MAIL.search(CLAUSE.split(text[: one.start()])[-1]):
            user = one["user"].replace(" dot ", ".").replace(" underscore ", "_").replace(" dash ", "-")
            yield Edit(one.start(), one.end(), f"{user}@{domain}")
        else:
            yield Edit(one.start("domain"), one.end("domain"), domain)


def _stretches(text: str) -> Iterator[list[re.Match[str]]]:
    """Words between which stands one blank or hyphen."""
    words: list[re.Match[str]] = []
    for found in WORD.finditer(text):
        if words and not JOINED.fullmatch(text[words[-1].end() : found.start()]):
            yield words
            words = []
        words.append(found)
    if words:
        yield words


def _behind_what_stays(said: Sequence[str], place: int) -> int:
    number = read(said, place)
    return number.behind if number is not None and number.stays else place + 1
