"""python -m perf.wording.confusions: the pairs that phonetic correction is measured by, made anew from their lists.

An English name is spelled otherwise by its letters alone, as who does not know it would write it: one rule, or two and
a blank inside. A Chinese one gets another character of the same sound, or of one that is often taken for it, by
`sounds.tsv` (a character, those that sound the same, those that nearly do). Nothing of it is the corrector's: neither
Metaphone nor its table of Pinyin.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from perf.wording.tables import HERE, rows

# Letters of one place in a word, by what they are often written as.
RULES = (
    ("ph", "f"), ("f", "ph"), ("ck", "k"), ("c(?=[aou])", "k"), ("k", "c"), ("x", "ks"), ("qu", "kw"), ("z", "s"),
    ("th", "t"), ("(?<=[bcdgkprt])h", ""), ("(?<=[a-z])e$", ""), ("(?<=[bdfgklmnprst])$", "e"), ("y", "i"), ("ie", "y"),
    ("(?<=[a-z])a", "e"), ("(?<=[a-z])e(?=[a-z])", "i"), ("(?<=[a-z])i", "e"), ("(?<=[a-z])o", "u"),
    ("(?<=[a-z])u", "o"), (r"([lmnprst])\1", r"\1"), (r"(?<=[aeiou])([lmnprst])(?=[aeiou])", r"\1\1"), ("ei", "y"),
    ("d$", "t"), ("v", "w"), ("w", "v"), ("sch", "sh"), ("tz", "ts"), ("j", "y"),
)  # fmt: skip
# Between these a name may be heard as two words.
INSIDE = re.compile(r"(?<=[a-z][aeiou])(?=[bcdfgklmnprstvz][aeiou])|(?<=[aeiou][lmnrst])(?=[bcdfgkpstv][aeiou])")


def pairs() -> Iterator[tuple[str, str, str]]:
    """Language, name, and what is heard in its place; two of each name, the same at every call."""
    for language, name in rows("names"):
        chance = random.Random(name)
        heard = _chinese(name, chance) if language == "Chinese" else _english(name, chance)
        for one in dict.fromkeys(heard):
            if one.casefold() != name.casefold():
                yield language, name, one


def _english(name: str, chance: random.Random) -> list[str]:
    lightly = _spelled_otherwise(name.lower(), chance)
    heavily = _spelled_otherwise(lightly, chance)
    places = [found.start() for found in INSIDE.finditer(heavily)]
    if places and " " not in heavily:
        place = chance.choice(places)
        heavily = f"{heavily[:place]} {heavily[place:]}"
    return [lightly.title(), heavily]


def _spelled_otherwise(word: str, chance: random.Random) -> str:
    fitting = [(pattern, sound) for pattern, sound in RULES if re.search(pattern, word)]
    pattern, sound = chance.choice(fitting)
    return re.sub(pattern, sound, word, count=1)


def _chinese(name: str, chance: random.Random) -> list[str]:
    same, near = _sounds()
    heard = []
    for table, count in ((same, 1), (same, 2), (near, 1)):
        places = [place for place, one in enumerate(name) if table.get(one, "").strip(one)]
        characters = list(name)
        for place in chance.sample(places, min(count, len(places))):
            characters[place] = chance.choice(table[name[place]])
        heard.append("".join(characters))
    return heard


def _sounds() -> tuple[dict[str, str], dict[str, str]]:
    sounds = rows("sounds")
    return {row[0]: row[1] for row in sounds}, {row[0]: row[2] for row in sounds}


if __name__ == "__main__":
    made = "".join("\t".join(pair) + "\n" for pair in pairs())
    (HERE / "pairs.tsv").write_text(made, encoding="utf-8")
    print(f"{made.count(chr(10))} pairs")
