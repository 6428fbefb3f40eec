"""Two directions of a live connection, until one of them ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from frontend.guard.drain import Drain
from frontend.triton.lasting_session import LastingSession

logger = logging.getLogger(__name__)

# What is said when a client leaves is still transcribed, for its log and its metrics, but not for ever.
LAST_WORDS_S = 15.0
# Who has said that this is the end and stays for its answer waits for a server that is started anew, if need be.
PATIENCE_S = 90.0


async def run(
    session: LastingSession,
    speak: Coroutine[Any, Any, None],
    listen: Coroutine[Any, Any, None],
    finish: Callable[[], None],
    drain: Drain,
    give_up: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    """speak passes on what the client sends and ends when it leaves, listen what the session says and ends when it is
    closed. finish: called when the client has left or the server is to end; sends the session's end. give_up: called
    when the session does not end in time; tells the client, who may still be there.
    """
    tasks = [asyncio.create_task(speak), asyncio.create_task(listen), asyncio.create_task(drain.started.wait())]
    speaking, listening, _ = tasks
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
