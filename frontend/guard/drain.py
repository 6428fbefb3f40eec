"""The live sessions there are, and ending in order: they are asked to finish, and waited for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import anyio

from frontend.guard.counts import SESSIONS, Count, alone


class Drain:
    """Counts the live sessions; `started` is set when they should finish."""

    def __init__(self, count: Count | None = None) -> None:
        """count: of live sessions, of which this process ends its own."""
        self.started = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._count = count or alone(SESSIONS)

    @property
    def busy(self) -> bool:
        return self._count.own > 0

    @property
    def num_sessions(self) -> int:
        """Of the whole service."""
        return self._count.total

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Be counted as a live session."""
        self._count.add(1)
        self._idle.clear()
        try:
            yield
        finally:
            self._count.add(-1)
            if not self.busy:
                self._idle.set()

    async def finish(self, timeout_s: float) -> None:
        """Ask all to finish; returns when they have, or in time."""
        self.started.set()
        with contextlib.suppress(TimeoutError), anyio.fail_after(timeout_s):
            await self._idle.wait()
