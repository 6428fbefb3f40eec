"""Words with their times, as the text that they are of writes them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A word as it is written, with its punctuation, from `start` to `end` in seconds.

    confidence: 0 to 1. before: the blanks between it and the word before.
    """

    word: str
    start: float
    end: float
    confidence: float
    before: str = ""

    @classmethod
    def of(cls, written: str, start: float, end: float, confidence: float) -> Word:
        """written: the word with the blanks before it."""
        word = written.lstrip()
        return cls(word, start, end, confidence, written[: len(written) - len(word)])

    @property
    def text(self) -> str:
        return self.before + self.word
