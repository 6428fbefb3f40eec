"""Two directions of a live connection, until one of them ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from frontend.guard.drain import Drain

logger = logging.getLogger(__name__)

# What is said when a client leaves is still transcribed, for its log and its metrics, but not for ever.
LAST_WORDS_S = 15.0
# Who has said that this is the end and stays for its answer waits for a server that is started anew, if need be.
PATIENCE_S = 90.0


class Heard(Protocol):
    """sound_at: when sound came last, as time.monotonic has it. ended: whether its end was sent."""

    sound_at: float

    @property
    def ended(self) -> bool: ...

    async def close(self) -> None: ...


async def run(
    session: Heard,
    speak: Coroutine[Any, Any, None],
    listen: Coroutine[Any, Any, None],
    finish: Callable[[], None],
    drain: Drain,
    silence_s: float,
    give_up: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    """speak passes on what the client sends and ends when it leaves, listen what the session says and ends when it is
    closed. finish: called when the client has left, is silent for too long or the server is to end; sends the session's
    end. silence_s: how long a client may send no sound. give_up: called when the session does not end in time; tells
    the client, who may still be there.
    """
    ends: list[Coroutine[Any, Any, Any]] = [speak, listen, drain.started.wait(), _silence(session, silence_s)]
    tasks = [asyncio.create_task(end) for end in ends]
    speaking, listening, *_ = tasks
    try:
        with drain.session():
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not listening.done():
                stays = session.ended and not drain.started.is_set()
                finish()
                await asyncio.wait([listening], timeout=PATIENCE_S if stays else LAST_WORDS_S)
                if not listening.done():
                    await give_up()
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(speaking, listening, return_exceptions=True)
        await session.close()
        for result in results:
            if isinstance(result, Exception):
                logger.error("a live session failed", exc_info=result)


async def _silence(session: Heard, silence_s: float) -> None:
    """Return when no sound came for so long: what else a client sends does not keep its place."""
    while (left_s := session.sound_at + silence_s - time.monotonic()) > 0:
        await asyncio.sleep(left_s)
