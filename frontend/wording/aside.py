"""Work on texts beside the event loop, which live speech waits for: a live final waits for no recording, and a short
text for no long one."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

logger = logging.getLogger(__name__)
T = TypeVar("T")

# Characters of what is short, such as a segment of a recording.
MOST_SHORT = 2_000
# Waiting for a thread included. All work here is bounded; who waits for so long goes on without it.
PATIENCE_S = 10.0
# One thread each: two of them would compute in turns.
_live = ThreadPoolExecutor(max_workers=1, thread_name_prefix="wording-live")
_short = ThreadPoolExecutor(max_workers=1, thread_name_prefix="wording")
_long = ThreadPoolExecutor(max_workers=1, thread_name_prefix="wording-long")


async def aside(work: Callable[..., T], *arguments: object, size: int, is_live: bool = False) -> T:
    """What the work returns, done in a thread. size: characters of its texts. Raises what it raises, and
    asyncio.TimeoutError where it does not come to its end."""
    pool = _live if is_live else _short if size <= MOST_SHORT else _long
    return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(pool, work, *arguments), PATIENCE_S)


def log_failure(what: str, error: Exception) -> None:
    """Where it failed, and no message: that may hold the text."""
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s failed: %s\n%s", what, type(error).__name__, where)
