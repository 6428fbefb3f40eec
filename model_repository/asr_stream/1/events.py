"""What a session says: the events' fields."""

from __future__ import annotations

from typing import Any

from .rooms import Heard
from .settings import SAMPLE_RATE_HZ
from .utterance import Utterance

Event = dict[str, Any]


def at(name: str, sample: int) -> Event:
    """A place in the session: seconds, and exactly."""
    return {name: round(sample / SAMPLE_RATE_HZ, 6), f"{name}_sample": sample}


def place(utterance: Utterance, end: int) -> Event:
    """An utterance and where it is."""
    return {"utterance": utterance.number, **at("start", utterance.start), **at("end", end)}


def partial(utterance: Utterance, end: int, heard: Heard, stable: str, unstable: str, checkpoint: str) -> Event:
    return {
        "type": "partial",
        "text": heard.text,
        "stable": stable,
        "unstable": unstable,
        "language": heard.language,
        "checkpoint": checkpoint,
        **place(utterance, end),
    }


def final(utterance: Utterance, end: int, heard: Heard, stable: str) -> Event:
    """revised: whether the text does not go on from what was called stable."""
    return {
        "type": "final",
        "text": heard.text,
        "stable": stable,
        "revised": not heard.text.startswith(stable),
        "language": heard.language,
        "checkpoint": "accurate",
        **place(utterance, end),
    }


def lost(utterance: Utterance, end: int, error: Exception) -> Event:
    """An utterance whose final cannot be had."""
    return {"type": "error", "message": f"the utterance is lost: {error}", "fatal": False, **place(utterance, end)}


def debug(utterance: Utterance, heard: Heard) -> Event:
    """For those who asked for it: what the utterance has cost, the decoder's result and its tokens."""
    return {"meta": {**vars(utterance.work), "decoder": heard.result, "token_ids": heard.token_ids}}
