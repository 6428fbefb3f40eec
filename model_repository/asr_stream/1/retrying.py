"""Patience with models that fail, because they heal by themselves."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .rooms import RoomFailed

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")

RETRY_FIRST_S, RETRY_LONGEST_S = 0.1, 2.0


async def retried(ask: Callable[[], Awaitable[Answer]], retry_s: float, name: str) -> Answer:
    """Ask again, at growing intervals; RoomFailed after `retry_s`, or where it is no use. name: of the session."""
    deadline = time.monotonic() + retry_s
    pause_s = RETRY_FIRST_S
    while True:
        try:
            return await ask()
        except RoomFailed as error:
            if error.invalid or time.monotonic() + pause_s > deadline:
                raise
            logger.warning("session %s tries again: %s", name, error)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, RETRY_LONGEST_S)
