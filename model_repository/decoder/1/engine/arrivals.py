"""What reaches the engine from other threads: requests, names of those that are to be dropped, other work."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from .sequence import Sequence

# How long a cancelled request may still be on its way here.
CANCEL_REMEMBERED_S = 60.0


class EngineStopped(RuntimeError):
    """The engine is shutting down and takes nothing more."""


class Arrivals:
    """Put from any thread, taken by the engine's."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Sequence | Callable[[], object] | None] = queue.SimpleQueue()
        # Request ids that are to be dropped, whether they are here or still on their way, and when they were named.
        self._cancelled: dict[str, float] = {}
        # Why nothing more is taken, "" as long as it is.
        self._closed = ""
        self._lock = threading.Lock()

    def put(self, sequence: Sequence) -> None:
        """Raises EngineStopped once it is closed."""
        with self._lock:
            if self._closed:
                raise EngineStopped(self._closed)
            self._queue.put(sequence)

    def close(self, reason: str, take_in: Callable[[Sequence], None]) -> None:
        """Hand over what has come, after which nothing comes any more: no request is left where nobody looks."""
        with self._lock:
            self._closed = reason
        self.take(take_in, wait=False)

    def call(self, work: Callable[[], object]) -> None:
        """Do this in the engine's thread, before its next step."""
        self._queue.put(work)

    def cancel(self, request_id: str) -> None:
        self.call(lambda: self._cancelled.update({request_id: time.monotonic()}))

    def wake(self) -> None:
        """End a wait that finds nothing."""
        self._queue.put(None)

    def take(self, take_in: Callable[[Sequence], None], *, wait: bool) -> None:
        """Hand over what has come; wait: until something has."""
        while True:
            try:
                arrival = self._queue.get(block=wait)
            except queue.Empty:
                return
            if isinstance(arrival, Sequence):
                take_in(arrival)
            elif arrival is not None:
                arrival()
            wait = False

    @property
    def are_any_cancelled(self) -> bool:
        """Whether a name is remembered, of those that are not too old."""
        oldest = time.monotonic() - CANCEL_REMEMBERED_S
        # Before it is asked for: an idle engine forgets nothing by itself.
        self._cancelled = {name: when for name, when in self._cancelled.items() if when > oldest}
        return bool(self._cancelled)

    def is_cancelled(self, sequence: Sequence) -> bool:
        """Whether nobody waits for it any more; its name is free again."""
        return sequence.listener.is_cancelled() or self._cancelled.pop(sequence.request_id, None) is not None
