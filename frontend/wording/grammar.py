"""Spoken numbers and measures as they are written: wetext's grammars for inverse text normalization, run by kaldifst.

They are read from wetext's files: to import the package is to load all of its grammars, which takes 40 MB and 0.3 s.
Of these three it is 16 MB and 0.1 s. What they are given is a few words at a time, a number with its unit, so that the
rest of a text stays as it is.
"""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

# By the model's names.
CODES = {"English": "en", "Chinese": "zh", "Cantonese": "zh", "Japanese": "ja"}
# Of what a tagger tells, the order in which its verbalizer wants it.
ORDERS = {
    "date": ("year", "month", "day", "preserve_order"),
    "fraction": ("sign", "numerator", "denominator"),
    "measure": ("numerator", "denominator", "value", "units"),
    "money": ("currency", "value", "decimal", "quantity"),
    "time": ("hour", "minute", "second", "noon", "zone"),
}
TAGGED = re.compile(r"(\w+) \{((?: \w+: \"(?:[^\"\\]|\\.)*\"\s*)*)\}")
MEMBER = re.compile(r"(\w+): (\"(?:[^\"\\]|\\.)*\")")
# Characters of what is given to a grammar at a time: nothing else of the process runs meanwhile, threads neither, and
# its work grows faster than they do. (At these 3 to 8 ms, of numbers that nobody says. A whole number below 一万亿 has
# 23 at most.)
MOST_CHARACTERS = {"en": 100, "zh": 24, "ja": 24}


@lru_cache(maxsize=4096)
def written(code: str, phrase: str) -> str:
    """A phrase of spoken numbers as it is written; the phrase itself where the grammar finds nothing in it. code: en,
    zh or ja; phrase: in lower case, without marks."""
    if len(phrase) > MOST_CHARACTERS[code]:
        return phrase
    tagger, verbalizer = _grammar(code)
    tagged = tagger.normalize(phrase)
    ordered = " ".join(_ordered(*found.groups()) for found in TAGGED.finditer(tagged))
    return str(verbalizer.normalize(ordered)).strip() or phrase


def _ordered(name: str, told: str) -> str:
    members = dict(MEMBER.findall(told))
    wanted = () if members.get("preserve_order") == '"true"' else ORDERS.get(name, ())
    order = [*(one for one in wanted if one in members), *(one for one in members if one not in wanted)]
    return f"{name} {{ {' '.join(f'{one}: {members[one]}' for one in order)} }}"


def load() -> None:
    """All grammars, of which the first phrase of a language would load its own."""
    for code in dict.fromkeys(CODES.values()):
        _grammar(code)


@lru_cache(maxsize=3)
def _grammar(code: str) -> tuple[Any, Any]:
    from kaldifst import TextNormalizer

    found = importlib.util.find_spec("wetext")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("wetext is not installed")
    folder = Path(found.submodule_search_locations[0]) / "fsts" / code / "itn"
    return TextNormalizer(str(folder / "tagger.fst")), TextNormalizer(str(folder / "verbalizer.fst"))
