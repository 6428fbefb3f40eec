"""The clock of a live session's events, moved to where the session began."""

from __future__ import annotations

from typing import Any

SAMPLE_RATE_HZ = 16_000


def later(event: dict[str, Any], samples: int) -> dict[str, Any]:
    """The same event of a stream that began so many samples after its session."""
    event = dict(event)
    for name in ("resume_sample", "due_sample"):
        if name in event:
            event[name] += samples
    for name in ("start", "end"):
        if f"{name}_sample" in event:
            event[f"{name}_sample"] += samples
            event[name] = round(event[f"{name}_sample"] / SAMPLE_RATE_HZ, 6)
    if event.get("turns"):
        event["turns"] = [later(turn, samples) for turn in event["turns"]]
    if samples and event.get("words"):
        seconds = samples / SAMPLE_RATE_HZ
        event["words"] = [
            {**word, "start": round(word["start"] + seconds, 3), "end": round(word["end"] + seconds, 3)}
            for word in event["words"]
        ]
    return event
