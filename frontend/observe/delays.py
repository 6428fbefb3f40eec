"""How late a live session's texts are: from the arrival of the sound that they cover."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

# Arrivals that are known at most: beyond, the older half is forgotten. At 20 ms that is a minute or more.
MOST = 6_000


class Delays:
    """Told what comes and what is said of it; times are those of time.monotonic, samples those of the session."""

    def __init__(self, observe: Callable[[str, float], None]) -> None:
        """observe: takes `first_partial`, `partial` or `final`, and its seconds."""
        self._observe = observe
        # The samples that had come by each of these times.
        self._samples: list[int] = []
        self._times: list[float] = []
        self._first_of = 0

    def arrived(self, count: int, now: float) -> None:
        """So many samples came."""
        if len(self._samples) >= MOST:
            del self._samples[: MOST // 2], self._times[: MOST // 2]
        self._samples.append(count + (self._samples[-1] if self._samples else 0))
        self._times.append(now)

    def told(self, event: dict[str, Any], now: float) -> None:
        """This event is said: the first partial of an utterance counts from the utterance's first sample, every
        partial and final from its last one."""
        kind = event["type"]
        if kind not in ("partial", "final") or not self._samples:
            return
        if kind == "partial" and event["utterance"] > self._first_of:
            self._first_of = event["utterance"]
            self._observe("first_partial", now - self._time_of(event["start_sample"] + 1))
        self._observe(kind, now - self._time_of(event["end_sample"]))

    def _time_of(self, sample: int) -> float:
        """When the sample before this place came; of what is forgotten, the oldest time known."""
        return self._times[min(bisect_left(self._samples, sample), len(self._times) - 1)]
