"""What a live session may be asked for, checked where it enters: the names, types and ranges of `asr_stream`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from frontend.api.strict_json import is_text
from frontend.wording.wanted import SETTINGS as WORDING

# Characters at most. `asr_stream` knows which languages there are.
TEXTS = {"language": 100, "context": 20_000, "vad": 3, "word_timestamps": 5, "speakers": 5, "hotwords": 40_000}
BESIDE_FINALS = ("off", "event", "final")
# Lowest and highest. Of partial_interval_ms a server may ask for more.
NUMBERS: dict[str, tuple[float, float]] = {
    "threshold": (0.05, 0.95),
    "prefix_padding_ms": (0, 2_000),
    "min_speech_ms": (0, 2_000),
    "silence_ms": (64, 10_000),
    "max_utterance_s": (2, 120),
    "partial_interval_ms": (20, 60_000),
    "agreement": (1, 10),
}
FRACTIONS = ("threshold", "max_utterance_s")
FLAGS = ("debug",)


def wrong_setting(settings: Mapping[str, Any]) -> str | None:
    """What is wrong with them, or None. Numbers and truths may come as text, as they do in an address."""
    return next((wrong for name, value in settings.items() if (wrong := _wrong(name, value))), None)


def _wrong(name: str, value: Any) -> str | None:
    if name in TEXTS:
        return _wrong_text(name, value)
    if name in NUMBERS:
        return _wrong_number(name, value)
    if name in FLAGS:
        is_flag = str(value).lower() in ("true", "false", "1", "0") if isinstance(value, str | int) else False
        return None if is_flag else f"{name} must be true or false, not {_short(value)}"
    return f"unknown parameter {_short(name)}; known are {', '.join([*TEXTS, *NUMBERS, *FLAGS, *WORDING])}"


def _wrong_text(name: str, value: Any) -> str | None:
    if not isinstance(value, str) or not is_text(value):
        return f"{name} must be a text, not {_short(value)}"
    if name == "vad" and value not in ("on", "off"):
        return f"vad must be on or off, not {_short(value)}"
    if name in ("word_timestamps", "speakers") and value not in BESIDE_FINALS:
        return f"{name} must be one of {', '.join(BESIDE_FINALS)}, not {_short(value)}"
    if len(value) > TEXTS[name]:
        return f"{name} has {len(value)} characters; {TEXTS[name]} are the most"
    return None


def _wrong_number(name: str, value: Any) -> str | None:
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float) or len(str(value)) > 50:
            raise ValueError
        number = float(value)
    except (ValueError, OverflowError):
        return f"{name} must be a number, not {_short(value)}"
    low, high = NUMBERS[name]
    if not math.isfinite(number) or not low <= number <= high:
        return f"{name} must lie between {low:g} and {high:g}, not {_short(value)}"
    if name not in FRACTIONS and number != int(number):
        return f"{name} must be a whole number, not {_short(value)}"
    return None


def _short(value: Any) -> str:
    """As it is shown in a message, whatever it is."""
    shown = ascii(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"
