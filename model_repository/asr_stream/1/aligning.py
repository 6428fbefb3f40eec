"""When the words of finals were said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import events
from .beside import Beside, Said
from .rooms import Rooms, TimedWord


class Aligning(Beside):
    too_many = "the words of too many utterances wait"
    too_late = "the session ended before its words were known"
    no_answer = "the aligner did not answer in time"
    not_asked = "the aligner could not be asked"

    def __init__(self, rooms: Rooms, say: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._rooms = rooms
        self._say = say

    async def found(self, said: Said, priority: int) -> events.Event:
        """`words`, or `words_error` where they cannot be had."""
        heard = said.heard
        if not heard.text:
            return {"words": []}

        async def ask() -> list[TimedWord]:
            return await self._rooms.align(said.pcm, heard.text, heard.language or "", priority)

        answer = await self.asked(said, ask)
        return self.missing(answer) if isinstance(answer, str) else {"words": events.words(answer, said.start)}

    def told(self, said: Said, told: events.Event) -> None:
        self._say(events.words_event(said.number, told))

    def missing(self, why: str) -> events.Event:
        return {"words": [], "words_error": why}
