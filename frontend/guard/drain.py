"""The live sessions there are, and ending in order: they are asked to finish, and waited for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import anyio


class Drain:
    """Counts the live sessions; `started` is set when they should finish."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._count = 0

    @property
    def busy(self) -> bool:
        return self._count > 0

    @property
    def num_sessions(self) -> int:
        return self._count

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Be counted as a live session."""
        self._count += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._idle.set()

    async def finish(self, timeout_s: float) -> None:
        """Ask all to finish; returns when they have, or in time."""
        self.started.set()
        with contextlib.suppress(TimeoutError), anyio.fail_after(timeout_s):
            await self._idle.wait()
