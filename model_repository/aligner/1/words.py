"""The words of a text as a forced aligner's checkpoint was trained to see them: its processor's rule.

Letters, numbers and apostrophes are kept, all else is dropped. Ideographs are words of their own, other scripts are
split at blanks; Japanese and Korean, which write no such blanks or too few, by libraries that know them.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Iterable

# Those that Qwen3-ForcedAligner was trained for, by the names that Qwen3-ASR gives them.
LANGUAGES = frozenset(
    ("Chinese", "English", "Cantonese", "French", "German", "Italian", "Japanese", "Korean", "Portuguese", "Russian",
     "Spanish")
)  # fmt: skip
# Blocks of ideographs in Unicode: first and last.
IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
EXTRA = "aligner-cjk"


def split_words(text: str, language: str | None) -> list[str]:
    """Words in order. language: a name of LANGUAGES, or None where it is not known.

    Raises ValueError where the language is none of them, or its library is not installed.
    """
    if language is not None and language not in LANGUAGES:
        raise ValueError(f"the aligner does not know {language}; it knows {', '.join(sorted(LANGUAGES))}")
    if language == "Japanese":
        return _cleaned(_japanese()(text.strip()))
    if language == "Korean":
        return _cleaned(_korean()(text.strip()))
    words: list[str] = []
    word = ""
    for character in text:
        if is_ideograph(character):
            words += [word, character]
            word = ""
        elif character.isspace():
            words.append(word)
            word = ""
        elif is_kept(character):
            word += character
    return [one for one in [*words, word] if one]


def is_ideograph(character: str) -> bool:
    code = ord(character)
    return any(first <= code <= last for first, last in IDEOGRAPHS)


def is_kept(character: str) -> bool:
    """Whether a character is part of a word."""
    return character == "'" or unicodedata.category(character)[0] in "LN" or is_ideograph(character)


def _cleaned(parts: Iterable[str]) -> list[str]:
    words = ("".join(filter(is_kept, part)) for part in parts)
    return [word for word in words if word]


@functools.cache
def _japanese() -> Callable[[str], list[str]]:
    try:
        import nagisa
    except ImportError:
        raise _missing("Japanese", "nagisa") from None
    return lambda text: nagisa.tagging(text).words


@functools.cache
def _korean() -> Callable[[str], list[str]]:
    try:
        from soynlp.tokenizer import LTokenizer
    except ImportError:
        raise _missing("Korean", "soynlp") from None
    return LTokenizer().tokenize


def _missing(language: str, package: str) -> ValueError:
    return ValueError(f"words of {language} need the package {package}: install the extra {EXTRA} on the server")
