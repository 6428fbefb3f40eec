"""What is said as it is written: numbers, dates, times, amounts, by language."""

from __future__ import annotations

from collections.abc import Callable

from frontend.wording import chinese, english
from frontend.wording.edits import Edit

# By the model's names. What is said in another language stays as it was recognized.
LANGUAGES: dict[str, Callable[[str], list[Edit]]] = {
    "English": english.edits,
    "Chinese": chinese.chinese_edits,
    "Cantonese": chinese.chinese_edits,
    "Japanese": chinese.japanese_edits,
}


def written_form(text: str, language: str | None) -> list[Edit]:
    """What of a text is written otherwise than it is said, in order; nothing in a language that is not known here."""
    edits = LANGUAGES.get(language or "")
    return edits(text) if edits is not None else []
