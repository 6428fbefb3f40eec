"""Calls that a lost model took with it, which Triton 2.51 leaves unanswered now and then, and sessions that are to go
on elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

# Whatever still goes its way after a model is back says something within this time, or is asked again.
GRACE_S = 5.0
LOOK_S = 0.5


class Unanswered(Exception):
    """A model was loaded again since the call was sent, and nothing was heard of it; or its server is lost."""


class Renewals:
    """When a model was last loaded again because it was lost, and who wants to know of it."""

    def __init__(self) -> None:
        self._last = 0.0
        # Nobody answers any more, and somebody else would: nothing is waited for.
        self.is_gone = False
        self._waiting: dict[str, dict[asyncio.Future[str], Callable[[], bool]]] = {}
        # Whom else to tell.
        self.on_note: Callable[[str], None] = lambda _: None

    def note(self, model: str) -> None:
        """A model is back."""
        self._last = time.monotonic()
        self.on_note(model)
        self.send_away(model, "the model was loaded again")

    def of(self, model: str, at_rest: Callable[[], bool] = lambda: True) -> asyncio.Future[str]:
        """Done, with the reason, when this model is next back after it was lost, because what it was told before it
        does not know any more, or when whoever waits is sent away. at_rest: whether that would disturb nothing now.
        Cancel it where nobody wants to know any longer."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(model, {})
        waiting[future] = at_rest
        future.add_done_callback(lambda done: waiting.pop(done, None))
        return future

    def num_waiting(self, model: str) -> int:
        """Sessions that would be sent away."""
        return len(self._waiting.get(model, ()))

    def send_away(self, model: str, reason: str, most: int | None = None, *, at_rest: bool = False) -> int:
        """Tell those that wait for this model to go on elsewhere, `most` of them at most, or those alone that are at
        rest; returns how many were told."""
        told = 0
        for future, rests in [*self._waiting.get(model, {}).items()]:
            if most is not None and told >= most:
                break
            if not future.done() and (not at_rest or rests()):
                future.set_result(reason)
                told += 1
        return told

    async def answer(self, call: Awaitable[T], sent: float) -> T:
        """What `call` brings. sent: when its request was, as time.monotonic has it. Raises Unanswered, and what the
        call raises; the call is cancelled with its caller."""
        waiting = asyncio.ensure_future(call)
        since = time.monotonic()
        try:
            while not (await asyncio.wait([waiting], timeout=LOOK_S))[0]:
                if self.is_gone:
                    raise Unanswered("its server is lost")
                if sent < self._last and time.monotonic() - max(since, self._last) > GRACE_S:
                    raise Unanswered("a model was lost, and the request with it")
            return waiting.result()
        finally:
            if not waiting.done():
                waiting.cancel()
