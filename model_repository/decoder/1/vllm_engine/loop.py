"""An event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class LoopThread:
    """Runs what other threads hand over, until it is stopped."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._lock = threading.Lock()
        self._stopped = False
        self._thread.start()

    def call(self, function: Callable[..., object], *arguments: Any) -> bool:
        """Call it on the loop's thread, soon. Whether it will be: not where that is stopped."""
        with self._lock:
            if not self._stopped:
                self.loop.call_soon_threadsafe(function, *arguments)
            return not self._stopped

    def run(self, coroutine: Coroutine[Any, Any, Result], timeout_s: float) -> Result:
        """Wait for a coroutine from another thread. Raises what it raises, and TimeoutError."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout_s)

    def stop(self, timeout_s: float = 5.0) -> None:
        with self._lock:
            # What was to be called before is.
            self._stopped = True
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout_s)
