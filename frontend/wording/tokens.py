"""Texts as words, and as characters where a script has no spaces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Kana, and Han with its extensions.
UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# A letter or digit of a script whose words stand apart.
LETTER = rf"[^\W_{UNSPACED}]"
HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
TOKEN = re.compile(rf"[{UNSPACED}]|{LETTER}+(?:['’]{LETTER}+)*")
# What a word with its punctuation is, once it is written: one character of the unspaced scripts, or what has no blank.
WRITTEN = re.compile(rf"[^\w\s]*[{UNSPACED}][^\w\s]*|[^\s{UNSPACED}]+")
# All of a text in pieces.
PIECE = re.compile(rf"\s+|[{UNSPACED}]|{LETTER}+(?:['’]{LETTER}+)*|.", re.DOTALL)


@dataclass(frozen=True)
class Token:
    """A word, or a character of a script without spaces, at `start` to `end` of its text. folded: without case."""

    start: int
    end: int
    folded: str


def tokens(text: str) -> Iterator[Token]:
    for found in TOKEN.finditer(text):
        yield Token(found.start(), found.end(), found.group().casefold().replace("’", "'"))


def written_words(text: str) -> list[tuple[int, str]]:
    """The words of a text with their punctuation, each with its place."""
    return [(found.start(), found.group()) for found in WRITTEN.finditer(text)]


def is_unspaced(character: str) -> bool:
    return bool(re.match(f"[{UNSPACED}]", character))
