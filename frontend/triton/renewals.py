"""Calls that a lost model took with it: Triton 2.51 leaves some of them unanswered for ever."""

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
    """A model was loaded again since the call was sent, and nothing was heard of it."""


class Renewals:
    """When a model was last loaded again because it was lost, and who wants to know of it."""

    def __init__(self) -> None:
        self._last = 0.0
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        # Whom else to tell.
        self.on_note: Callable[[str], None] = lambda _: None

    def note(self, model: str) -> None:
        """A model is back."""
        self._last = time.monotonic()
        self.on_note(model)
        for future in [*self._waiting.get(model, ())]:
            if not future.done():
                future.set_result(None)

    def of(self, model: str) -> asyncio.Future[None]:
        """Done when this model is next back after it was lost: what it was told before, it does not know any more.
        Cancel it where nobody wants to know any longer."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(model, set())
        waiting.add(future)
        future.add_done_callback(waiting.discard)
        return future

    async def answer(self, call: Awaitable[T], sent: float) -> T:
        """What `call` brings. sent: when its request was, as time.monotonic has it. Raises Unanswered, and what the
        call raises; the call is cancelled with its caller."""
        waiting = asyncio.ensure_future(call)
        since = time.monotonic()
        try:
            while not (await asyncio.wait([waiting], timeout=LOOK_S))[0]:
                if sent < self._last and time.monotonic() - max(since, self._last) > GRACE_S:
                    raise Unanswered("a model was lost, and the request with it")
            return waiting.result()
        finally:
            if not waiting.done():
                waiting.cancel()
