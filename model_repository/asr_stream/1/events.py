"""What a session says: the events' fields."""

from __future__ import annotations

from typing import Any

from .rooms import Heard, RoomFailed, TimedWord
from .settings import SAMPLE_RATE_HZ
from .utterance import Utterance

Event = dict[str, Any]
NO_WORDS = "word times are not served here: no forced aligner is exported (python -m export all --aligner)"
NO_SPEAKERS = "speakers are not told apart here: no speaker encoder is exported (python -m export speakers)"
# Codes of errors: the request or setting is at fault; the other models are away; the session does not exist; a mistake
# of ours. A frontend has one more, `busy`.
INVALID, UNAVAILABLE, SESSION_UNKNOWN, FAILED = "invalid", "unavailable", "session_unknown", "failed"


def at(name: str, sample: int) -> Event:
    """A place in the session: seconds, and exactly."""
    return {name: round(sample / SAMPLE_RATE_HZ, 6), f"{name}_sample": sample}


def place(utterance: Utterance, end: int) -> Event:
    """An utterance and where it is."""
    return {"utterance": utterance.number, **at("start", utterance.start), **at("end", end)}


def partial(
    utterance: Utterance, end: int, heard: Heard, stable: str, unstable: str, checkpoint: str, due: int
) -> Event:
    """due: the first sample with which there may be more to say."""
    return {
        "type": "partial",
        "text": heard.text,
        "stable": stable,
        "unstable": unstable,
        "language": heard.language,
        "checkpoint": checkpoint,
        **place(utterance, end),
        "due_sample": due,
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


def words(found: list[TimedWord], start: int) -> list[Event]:
    """Words in the session's time; start: the sample that their utterance begins with."""
    return [
        {
            "word": word.strip(),
            "start": round((start + first) / SAMPLE_RATE_HZ, 3),
            "end": round((start + last) / SAMPLE_RATE_HZ, 3),
            "confidence": round(sure, 4),
        }
        for word, first, last, sure in found
    ]


def words_event(number: int, told: Event) -> Event:
    """told: `words`, and `words_error` where they are not known. number: of the utterance."""
    return {"type": "words", "utterance": number, **told}


def error(code: str, message: str, *, fatal: bool = False) -> Event:
    """fatal: the session is over."""
    return {"type": "error", "code": code, "message": message, "fatal": fatal}


def unknown() -> Event:
    """For a request of a sequence whose session is over, or never began."""
    return error(
        SESSION_UNKNOWN,
        "no session of this sequence: it has ended, or its first request did not begin it; begin a new sequence",
        fatal=True,
    )


def lost(utterance: Utterance | None, end: int, failed: RoomFailed) -> Event:
    """An utterance whose final cannot be had; None: sound in which none was found yet."""
    code = INVALID if failed.invalid else UNAVAILABLE
    if utterance is None:
        return error(code, f"audio is lost: {failed}")
    return {**error(code, f"the utterance is lost: {failed}"), **place(utterance, end)}


def debug(utterance: Utterance, heard: Heard) -> Event:
    """For those who asked for it: what the utterance has cost, the decoder's result and its tokens."""
    return {"meta": {**vars(utterance.work), "decoder": heard.result, "token_ids": heard.token_ids}}


def speaker_event(number: int, told: Event) -> Event:
    """told: `speaker`, `turns` where there are several, and `speaker_error` where it is not known."""
    return {"type": "speaker", "utterance": number, **told}


def turn(speaker: str, start: int, end: int) -> Event:
    """Somebody's part of an utterance."""
    return {"speaker": speaker, **at("start", start), **at("end", end)}
