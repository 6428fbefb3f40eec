"""How much of a live text is taken back."""

from __future__ import annotations


def revised(before: list[str], words: list[str]) -> int:
    """Words of the text before that are not at the beginning of the next one."""
    kept = next((place for place, (a, b) in enumerate(zip(before, words, strict=False)) if a != b), len(words))
    return max(0, len(before) - kept)
