"""What live streams hear, and how late: the arrivals of their sound, and the events that tell of it."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from perf.loads.load import percentile_ms
from perf.loads.revisions import revised
from perf.speech.conversations import RATE_HZ

LATE_S = 1.0
# How long last words may take, and how many streams are opened at a time.
PATIENCE_S, OPENED_AT_A_TIME = 60.0, 32
# The service's defaults: a pause so long ends an utterance, of which so much is kept.
SILENCE_S, PADDING_S = 0.6, 0.3


@dataclass
class Streams:
    """What all streams of a run heard. Seconds; `partial` from the arrival of a partial's last sample, `final` from the
    arrival of the utterance's last sample (the pause that ends it is in it), `pause` from the end of that pause to the
    final, `first` from the utterance's first sample to its first partial."""

    streams: int = 0
    first: list[float] = field(default_factory=list)
    partial: list[float] = field(default_factory=list)
    final: list[float] = field(default_factory=list)
    pause: list[float] = field(default_factory=list)
    audio_seconds: float = 0.0
    spoken: int = 0
    words_told: int = 0
    words_revised: int = 0
    finals_revised: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, other: Streams) -> None:
        """Count another run of as many streams with this one."""
        self.streams = other.streams
        for one in fields(self):
            if one.name != "streams":
                setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    @property
    def dropped(self) -> int:
        """Utterances that began and had no final."""
        return max(0, self.spoken - len(self.final))

    def row(self) -> dict[str, Any]:
        """stability: share of words in partials that the next text of the utterance kept."""
        stability = 1 - self.words_revised / self.words_told if self.words_told else None
        return {
            "streams": self.streams,
            "first_p50_ms": percentile_ms(self.first, 50),
            "partial_p50_ms": percentile_ms(self.partial, 50),
            "partial_p95_ms": percentile_ms(self.partial, 95),
            "partial_p99_ms": percentile_ms(self.partial, 99),
            "final_p50_ms": percentile_ms(self.final, 50),
            "final_p95_ms": percentile_ms(self.final, 95),
            "after_pause_p50_ms": percentile_ms(self.pause, 50),
            "after_pause_p95_ms": percentile_ms(self.pause, 95),
            "stability": stability,
            "late": sum(one > LATE_S for one in self.partial),
            "dropped": self.dropped,
            "errors": len(self.errors),
        }


@dataclass(frozen=True)
class Turn:
    """int16 [samples], 16 kHz, that begin to be spoken so many seconds after their stream."""

    at_s: float
    shorts: NDArray[np.int16]


class Hearing:
    """One stream's part of `found`."""

    def __init__(self, found: Streams) -> None:
        self._found = found
        # The samples that had been sent by each of these times.
        self._samples: list[int] = []
        self._times: list[float] = []
        self._before: list[str] = []
        self._paused_at = -1

    def sent(self, count: int) -> None:
        """So many samples, now."""
        self._samples.append(count + (self._samples[-1] if self._samples else 0))
        self._times.append(time.monotonic())
        self._found.audio_seconds += count / RATE_HZ

    def heard(self, event: dict[str, Any]) -> bool:
        """Count an event that has come now; False where it is the last one."""
        found, kind = self._found, event["type"]
        if kind == "speech_started":
            found.spoken += 1
            self._before, self._paused_at = [], -1
        elif kind == "speech_stopped" and event["reason"] == "silence":
            self._paused_at = event["end_sample"] + round((SILENCE_S - PADDING_S) * RATE_HZ)
        elif kind in ("partial", "final"):
            words = event["text"].split()
            found.words_revised += revised(self._before, words)
            if kind == "partial":
                if not self._before:
                    found.first.append(self._since(event["start_sample"] + 1))
                found.partial.append(self._since(event["end_sample"]))
                found.words_told += len(words)
                self._before = words
            else:
                found.final.append(self._since(event["end_sample"]))
                found.finals_revised += bool(event["revised"])
                if 0 <= self._paused_at <= self._samples[-1]:
                    found.pause.append(self._since(self._paused_at))
        elif kind == "error":
            found.errors.append(event["message"])
        return bool(kind != "closed")

    def _since(self, sample: int) -> float:
        """Seconds since the sample before this place was sent."""
        return time.monotonic() - self._times[min(bisect_left(self._samples, sample), len(self._times) - 1)]


async def speak(
    turns: list[Turn], chunk: int, begin: float, hearing: Hearing, send: Callable[[NDArray[np.int16]], None]
) -> None:
    """Say the turns at the pace of speech from the monotonic time `begun`, in chunks of so many samples."""
    for turn in turns:
        begun = begin + turn.at_s
        for start in range(0, turn.shorts.size, chunk):
            part = turn.shorts[start : start + chunk]
            # A microphone has a chunk once all of it was said.
            await asyncio.sleep(max(0.0, begun + (start + part.size) / RATE_HZ - time.monotonic()))
            hearing.sent(part.size)
            send(part)


class Stream(Protocol):
    """A live session. No failure is an exception: each is counted."""

    async def open(self) -> None: ...

    async def run(self, turns: list[Turn], begin: float) -> None:
        """Speak the turns from the monotonic time `begin` on, and hear until the session is closed."""


async def run_streams(
    streams: list[Stream],
    turns: list[list[Turn]],
    found: Streams,
    *,
    begun: Callable[[float], None] = lambda _: None,
    done: Callable[[], Any] = lambda: None,
) -> None:
    """Open them all, then let them speak, begun within a second at different moments of their chunks and steps.

    begun: told the monotonic time at which the first one begins. done: called as each ends.
    """
    found.streams = len(streams)
    places = asyncio.Semaphore(OPENED_AT_A_TIME)

    async def opened(stream: Stream) -> None:
        async with places:
            await stream.open()

    await asyncio.gather(*map(opened, streams))
    begin = time.monotonic() + 0.3
    begun(begin)

    async def one(number: int) -> None:
        await streams[number].run(turns[number], begin + number / len(streams))
        done()

    await asyncio.gather(*map(one, range(len(streams))))
