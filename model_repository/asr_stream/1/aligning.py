"""When the words of finals were said: asked for beside everything else, and told in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import events
from .retrying import retried
from .rooms import Floats, Heard, RoomFailed, Rooms, TimedWord

logger = logging.getLogger(__name__)

# How long a final's words are asked for, where the aligner is away; and at the session's end, those of all.
PATIENCE_S = 10.0
# The same of a final that waits for them, where another one waited in vain: the session hears nothing meanwhile.
LATER_PATIENCE_S = 1.0
LAST_S = 5.0
# Finals whose words wait: their sound is kept as long.
MOST_WAITING = 8
TOO_MANY = "the words of too many utterances wait"


@dataclass(frozen=True)
class Said:
    """A final: number of its utterance, the session's sample that it begins with, its sound and text. judged: what the
    detector of speech said of it, where it was asked."""

    number: int
    start: int
    pcm: Floats
    heard: Heard
    judged: Floats | None = None


class Aligning:
    """Made and used on the session's event loop."""

    def __init__(self, rooms: Rooms, say: Callable[[dict[str, Any]], None]) -> None:
        self._rooms = rooms
        self._say = say
        self._waiting: list[Said] = []
        self._worker: asyncio.Task[None] | None = None
        self._in_vain = False

    async def words(self, said: Said, priority: int) -> events.Event:
        """`words`, or `words_error` where they cannot be had; no later than PATIENCE_S, and sooner where the last ones
        could not be had either."""
        heard = said.heard
        if not heard.text:
            return {"words": []}

        async def ask() -> list[TimedWord]:
            return await self._rooms.align(said.pcm, heard.text, heard.language or "", priority)

        patience_s = LATER_PATIENCE_S if self._in_vain else PATIENCE_S
        self._in_vain = True
        try:
            found = await asyncio.wait_for(retried(ask, patience_s, f"words of {said.number}"), patience_s)
        except (RoomFailed, asyncio.TimeoutError) as error:
            return {"words": [], "words_error": str(error) or "the aligner did not answer in time"}
        except Exception as error:
            # The text is known, and is told whatever becomes of its words.
            logger.exception("the words of a final could not be asked for")
            return {"words": [], "words_error": f"the aligner could not be asked: {error}"}
        self._in_vain = False
        return {"words": events.words(found, said.start)}

    def follow(self, said: Said, priority: int) -> None:
        """Tell them by an event, once they are there; never waits."""
        if len(self._waiting) >= MOST_WAITING:
            self._say(events.words_event(said.number, {"words": [], "words_error": TOO_MANY}))
            return
        self._waiting.append(said)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._work(priority))

    async def settle(self) -> None:
        """Return when all are told, or after LAST_S; what is not known by then is told as such."""
        if self._worker is not None:
            await asyncio.wait([self._worker], timeout=LAST_S)
            for said in self._waiting:
                error = "the session ended before its words were known"
                self._say(events.words_event(said.number, {"words": [], "words_error": error}))
        self.cancel()

    def cancel(self) -> None:
        self._waiting.clear()
        if self._worker is not None:
            self._worker.cancel()

    async def _work(self, priority: int) -> None:
        while self._waiting:
            told = await self.words(self._waiting[0], priority)
            said = self._waiting.pop(0)
            self._say(events.words_event(said.number, told))
