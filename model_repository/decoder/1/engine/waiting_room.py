"""How many requests of each priority are taken in, and how long they may wait.

Triton's own priority queues could do this in config.pbtxt, but not without harm: where a request arrives while
execute() runs, its batcher goes to sleep, and nothing wakes it when the instance is free again until another request
comes or half a second has gone (Triton 2.51, dynamic_batch_scheduler.cc: priority levels and bounds of a queue turn
prefetching off, and then a batch waits for an idle instance that does not tell). Requests that come together, as those
of one batch of the encoder do, each wait for the next one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from .sequence import Sequence

UNAVAILABLE = "UNAVAILABLE: "


class RoomFull(RuntimeError):
    """No place for a request of its level; it may be tried again."""


class WaitingRoom:
    """Places beside those that run. Any thread may enter and leave."""

    def __init__(self, places: Mapping[int, int], patience_s: Mapping[int, float], max_running: int) -> None:
        """places, patience_s: by priority; a priority that is not named has no bound."""
        self._places = dict(places)
        self._patience_s = dict(patience_s)
        self._max_running = max_running
        self._inside: dict[int, int] = {}
        # How many were refused since the start.
        self.num_refused = 0
        self._lock = threading.Lock()

    def enter(self, priority: int) -> None:
        """Take a place; RoomFull where there is none."""
        with self._lock:
            inside = self._inside.get(priority, 0)
            places = self._places.get(priority)
            if places is not None and inside >= places + self._max_running:
                self.num_refused += 1
                raise RoomFull(f"{UNAVAILABLE}{inside} requests of priority {priority} are here: try again later")
            self._inside[priority] = inside + 1

    def leave(self, priority: int) -> None:
        with self._lock:
            self._inside[priority] -= 1

    def refuse_late(self, sequence: Sequence, now: float) -> str | None:
        """What to tell a request that has waited longer than its level allows, and has not run yet; None where it may
        wait on."""
        patience_s = self._patience_s.get(sequence.priority)
        if patience_s is None or sequence.timings.started or now - sequence.timings.arrived <= patience_s:
            return None
        with self._lock:
            self.num_refused += 1
        return (
            f"{UNAVAILABLE}no place within {patience_s:g} s for a request of priority {sequence.priority}: "
            "try again later"
        )
