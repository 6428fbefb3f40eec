"""A recording's segments as they are to be written, with their words and parts."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import Any

from frontend.audio.joining import separator
from frontend.audio.timed import Timed
from frontend.wording.edits import WordsLost
from frontend.wording.stage import MOST_TOLD, NO_TIME, Worded, Wording, spoken
from frontend.wording.wanted import Wanted

# Questions of one recording to a language model, at a time: others have some as well.
AT_A_TIME = 4


@dataclass
class Rewriting:
    """Of one recording. language: that was asked for; it holds where none is heard. until: when time.monotonic is there
    nothing is corrected any more; segments go out as they are."""

    wording: Wording
    wanted: Wanted
    language: str | None = None
    until: float | None = None
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_A_TIME))
    # What debug tells: what was taken for hotwords, edits by step, milliseconds.
    _told: list[dict[str, Any]] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)
    _milliseconds: float = 0.0

    async def of(self, timed: Timed, language: str | None) -> Timed:
        """A segment as it is written. What one speaker says of it is rewritten by itself: nobody finishes another's
        numbers. language: that was heard."""
        language = spoken(language, self.language)
        made = await asyncio.gather(*(self._one(part, language) for part in timed.parts or (timed,)))
        for _, worded in made:
            self._note(worded)
        if not timed.parts:
            return made[0][0]
        parts: list[Timed] = []
        text, error = "", ""
        for before, (part, _) in zip(timed.parts, made, strict=True):
            error = error or part.correction_error
            if part.text:
                between = before.words[0].before if before.words and text else separator(text, part.text)
                text += between + part.text
                parts.append(part)
        if len(parts) == 1:
            return replace(parts[0], correction_error=error)
        return replace(timed, text=text, parts=tuple(parts), words=(), correction_error=error)

    def meta(self) -> dict[str, Any]:
        """What debug tells."""
        return {"replacements": self._told, "edits": self._counts, "ms": round(self._milliseconds, 3)}

    async def _one(self, timed: Timed, language: str | None) -> tuple[Timed, Worded]:
        worded = await self.wording.worded(timed.text, language, self.wanted, self._corrected)
        made = replace(timed, text=worded.text, correction_error=worded.error)
        if not timed.words:
            return made, worded
        try:
            return replace(made, words=worded.words(timed.words)), worded
        except WordsLost as lost:
            return replace(made, words=(), words_error=str(lost)), worded

    async def _corrected(self, worded: Worded, wanted: Wanted) -> Worded:
        """In its turn, and in the time that the recording has for that."""
        left_s = None if self.until is None else max(0.0, self.until - time.monotonic())
        try:
            return await asyncio.wait_for(self._asked(worded, wanted), left_s)
        except asyncio.TimeoutError:
            return replace(worded, error=NO_TIME)

    async def _asked(self, worded: Worded, wanted: Wanted) -> Worded:
        async with self._turns:
            return await self.wording.corrected(worded, wanted)

    def _note(self, worded: Worded) -> None:
        self._told += [*worded.told][: MOST_TOLD - len(self._told)]
        self._milliseconds += worded.milliseconds
        for step, count in worded.counts.items():
            self._counts[step] = self._counts.get(step, 0) + count
