"""Putting the texts of segments together as one would write them."""

from __future__ import annotations

import unicodedata


def separator(before: str, after: str) -> str:
    """A space between words, nothing between scripts that have none, nothing at the ends."""
    if not before or not after or before[-1].isspace() or after[0].isspace():
        return ""
    return "" if _unspaced(before[-1]) and _unspaced(after[0]) else " "


def _unspaced(character: str) -> bool:
    """Han, kana and full-width punctuation; Thai, Lao, Khmer and Burmese, which have no spaces between words."""
    if unicodedata.east_asian_width(character) in "WF":
        # Hangul is wide and has spaces.
        return not "\uac00" <= character <= "\ud7af"
    return "\u0e00" <= character <= "\u0eff" or "\u1780" <= character <= "\u17ff" or "\u1000" <= character <= "\u109f"
