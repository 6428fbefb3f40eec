"""What is told of finals beside their text and takes time to be found: asked for in order, never waited for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from . import events
from .retrying import retried
from .rooms import Floats, Heard, RoomFailed

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")

# How long it is asked for, where the room is away; and at the session's end, for all of them.
PATIENCE_S = 10.0
# The same of a final that waits for it, where another one waited in vain: the session hears nothing meanwhile.
LATER_PATIENCE_S = 1.0
LAST_S = 5.0
# Finals that wait: their sound is kept as long.
MOST_WAITING = 8


@dataclass(frozen=True)
class Said:
    """A final: number of its utterance, the session's sample that it begins with, its sound and text. judged: what the
    detector of speech said of it, where it was asked."""

    number: int
    start: int
    pcm: Floats
    heard: Heard
    judged: Floats | None = None


class Beside:
    """Made and used on the session's event loop. too_many, too_late, no_answer, not_asked: what is said where many
    wait, where the session ends, and where the room does not answer in time or could not be asked."""

    too_many: str
    too_late: str
    no_answer: str
    not_asked: str

    def __init__(self) -> None:
        self._waiting: list[Said] = []
        self._worker: asyncio.Task[None] | None = None
        self._in_vain = False

    async def found(self, said: Said, priority: int) -> events.Event:
        """What is told of a final, whatever becomes of the room."""
        raise NotImplementedError

    def told(self, said: Said, told: events.Event) -> None:
        """Say it by an event."""
        raise NotImplementedError

    def missing(self, why: str) -> events.Event:
        """What is told where it was not found."""
        raise NotImplementedError

    def follow(self, said: Said, priority: int) -> None:
        """Tell it by an event, once it is there; never waits."""
        if len(self._waiting) >= MOST_WAITING:
            self.told(said, self.missing(self.too_many))
            return
        self._waiting.append(said)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._work(priority))

    async def followed(self, timeout_s: float) -> None:
        """Return when nothing waits any more, or after so long."""
        if self._worker is not None and not self._worker.done():
            await asyncio.wait([self._worker], timeout=timeout_s)

    async def settle(self) -> None:
        """Return when all are told, or after LAST_S; what is not known by then is told as such."""
        await self.followed(LAST_S)
        for said in self._waiting:
            self.told(said, self.missing(self.too_late))
        self.cancel()

    def cancel(self) -> None:
        self._waiting.clear()
        if self._worker is not None:
            self._worker.cancel()

    async def asked(self, said: Said, ask: Callable[[], Awaitable[Answer]]) -> Answer | str:
        """What the room answers, or why it does not; no later than PATIENCE_S, and sooner where it did not answer the
        last time either."""
        patience_s = LATER_PATIENCE_S if self._in_vain else PATIENCE_S
        self._in_vain = True
        try:
            answer = await asyncio.wait_for(retried(ask, patience_s, f"utterance {said.number}"), patience_s)
        except (RoomFailed, asyncio.TimeoutError) as error:
            return str(error) or self.no_answer
        except Exception as error:
            # The text is known, and is told whatever becomes of this.
            logger.exception("a room could not be asked beside a final")
            return f"{self.not_asked}: {error}"
        self._in_vain = False
        return answer

    async def _work(self, priority: int) -> None:
        while self._waiting:
            told = await self.found(self._waiting[0], priority)
            self.told(self._waiting.pop(0), told)
