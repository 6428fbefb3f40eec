"""How texts are made alike before their words are compared.

The choice decides what a word is, and so the error rate:

- whisper   English as Whisper's evaluation does it (contractions, spellings, numerals), others by its basic rules.
            Published rates are made with it. Numerals are joined: "four two seven nine" becomes the one word
            4279, so that of clips which are nothing but digits a single wrong digit makes the whole clip wrong.
- basic     case, punctuation and spaces.
- digits    basic, and every digit is a word of its own however it was written: "four two", "42" and "四二" are 4 2.
- none      texts as they are.
- auto      for each language: digits where every text is a string of digits, else whisper.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

NAMES = ("auto", "whisper", "basic", "digits", "none")
# Written without spaces: errors are counted by character.
BY_CHARACTER = {"chinese", "cantonese", "japanese", "thai", "zh", "yue", "ja", "th"}
ENGLISH_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS = {**{word: str(value) for value, word in enumerate(ENGLISH_DIGITS)}, "oh": "0"}
CHARACTERS = {**{one: str(value) for value, one in enumerate("零一二三四五六七八九")}, "〇": "0", "幺": "1"}


def normalizer(name: str, language: str | None) -> Callable[[str], str]:
    """name: of NAMES but `auto`, which `choice` turns into one of the others. language: None is taken for English."""
    if name == "none":
        return lambda text: text
    if name == "basic":
        return basic
    if name == "digits":
        return digits
    if (language or "english").lower() in ("english", "en"):
        from whisper_normalizer.english import EnglishTextNormalizer  # type: ignore[import-untyped]

        return EnglishTextNormalizer()
    from whisper_normalizer.basic import BasicTextNormalizer  # type: ignore[import-untyped]

    return BasicTextNormalizer()


def choice(name: str, texts: Iterable[str | None]) -> str:
    """The normalizer that `name` stands for, for clips with these texts (None: not known)."""
    if name != "auto":
        return name
    said = [text for text in texts if text and text.strip()]
    return "digits" if said and all(map(is_digits, said)) else "whisper"


def is_digits(text: str) -> bool:
    """Whether a text is nothing but digits, in words, numerals or Chinese characters."""
    tokens = digits(text).split()
    return bool(tokens) and all(len(one) == 1 and one.isdecimal() for one in tokens)


def basic(text: str) -> str:
    """Lower case, no punctuation, single spaces."""
    plain = "".join(" " if unicodedata.category(one).startswith(("P", "S")) else one for one in text.lower())
    return re.sub(r"\s+", " ", plain).strip()


def digits(text: str) -> str:
    """As `basic`, with every digit apart and as a numeral."""
    tokens = (WORDS.get(one, one) for one in basic(text).split())
    numerals = (CHARACTERS.get(one, one) for one in " ".join(tokens))
    return " ".join("".join(f" {one} " if one.isdecimal() else one for one in numerals).split())


def counted_by_character(language: str | None, text: str) -> bool:
    """Whether errors are counted by character: in languages without spaces, and, where the language is not named, in a
    text that is for the most part of such a script."""
    if language is not None:
        return language.lower() in BY_CHARACTER
    letters = [one for one in text if one.isalnum()]
    return 2 * sum(map(_is_unspaced, letters)) > len(letters)


def _is_unspaced(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith(("CJK", "HIRAGANA", "KATAKANA", "THAI")) or letter == "〇"
