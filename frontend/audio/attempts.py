"""Asking Triton again: a model that is lost is back within seconds, and a full one has a place sooner or later."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from frontend.triton.client import TritonClient, TritonRefused, TritonUnavailable

T = TypeVar("T")

# Between attempts: twice as long each time, and not all at once.
RETRY_FIRST_S, RETRY_MOST_S = 0.25, 5.0
# A model that fails may be one that is loaded again, seconds later; one that fails so often fails by itself.
MOST_FAILURES = 6
# As Triton says it of a request whose model's process died under it.
DIED = "is not healthy"
# Less time than this is not halved for the sake of another attempt.
LEAST_ATTEMPT_S = 30.0


async def attempts(
    connected: Callable[[], Awaitable[TritonClient]], patience_s: float
) -> AsyncIterator[tuple[TritonClient, float]]:
    """Connections, each with the seconds that an attempt may take, until the patience is at its end. connected: the
    connection there is; asked again where Triton is lost."""
    deadline = time.monotonic() + patience_s
    pause_s = RETRY_FIRST_S
    while True:
        client = await connected()
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return
        # After one that hangs there is time for another.
        yield client, max(left_s / 2, min(left_s, LEAST_ATTEMPT_S))
        pause_s = min(RETRY_MOST_S, 2 * pause_s)
        wait_s = pause_s * random.uniform(0.5, 1.0)
        if time.monotonic() + wait_s > deadline:
            return
        await asyncio.sleep(wait_s)


class Losses:
    """What went wrong so far, of attempts that may yet succeed."""

    def __init__(self) -> None:
        self.last: Exception | None = None
        self._failures = 0

    def add(self, error: TritonUnavailable | TritonRefused) -> None:
        """Raises the error where no other attempt will succeed: the request itself is at fault, or a model fails by
        itself."""
        if isinstance(error, TritonRefused) and error.invalid:
            raise error
        self.last = error
        # What kills a process is not sent to one server after the other.
        died = isinstance(error, TritonUnavailable) and DIED in str(error)
        self._failures += died or (isinstance(error, TritonRefused) and not error.busy)
        if self._failures >= MOST_FAILURES:
            raise error

    def given_up(self, why: str) -> Exception:
        """What to raise where there is no time for another attempt."""
        return self.last or TritonUnavailable(why)


async def asked(
    connected: Callable[[], Awaitable[TritonClient]],
    patience_s: float,
    ask: Callable[[TritonClient, float], Awaitable[T]],
    why: str,
) -> T:
    """What `ask` answers, of the attempts the first that does. ask: of a connection, with the seconds it may take; why:
    said where there is no time for another attempt. Raises TritonRefused or TritonUnavailable."""
    losses = Losses()
    async for client, timeout_s in attempts(connected, patience_s):
        try:
            return await ask(client, timeout_s)
        except (TritonUnavailable, TritonRefused) as error:
            losses.add(error)
    raise losses.given_up(why)
