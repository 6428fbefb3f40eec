"""Which part of a partial will not change any more.

A word is stable when several hypotheses in a row agree on it and something follows it. What was called stable once
stays so, whatever later hypotheses say; only the final text may differ from it, and then says so.
"""

from __future__ import annotations

import re
from collections import deque

# Scripts that are written without spaces: Han, kana, Hangul syllables, Thai and their punctuation.
UNSPACED = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\u0e00-\u0e7f"
# Words with the space before them; scripts without spaces by character.
UNIT = re.compile(rf"\s*(?:[{UNSPACED}]|[^\s{UNSPACED}]+)")


def units_of(text: str) -> list[str]:
    """Words of a text, each with the space before it; together they are the text."""
    return UNIT.findall(text)


class StableText:
    """The hypotheses of one utterance, and what they agree on."""

    def __init__(self) -> None:
        self._last: deque[list[str]] = deque(maxlen=16)
        self._stable: list[str] = []

    @property
    def stable(self) -> str:
        return "".join(self._stable)

    def update(self, text: str, agreement: int) -> tuple[str, str]:
        """Take the next hypothesis; returns the stable text and what follows it in this hypothesis.

        agreement: hypotheses in a row, this one among them, that have to agree on a word.
        """
        units = units_of(text)
        self._last.append(units)
        if len(self._last) >= agreement:
            agreed = _common(list(self._last)[-agreement:])
            # The last word may still grow.
            agreed = agreed[: len(units) - 1]
            if len(agreed) > len(self._stable) and agreed[: len(self._stable)] == self._stable:
                self._stable = agreed
        return self.stable, "".join(units[len(self._stable) :])


def _common(hypotheses: list[list[str]]) -> list[str]:
    """The beginning that all hypotheses share."""
    shared: list[str] = []
    for words in zip(*hypotheses, strict=False):
        if any(word != words[0] for word in words):
            break
        shared.append(words[0])
    return shared
