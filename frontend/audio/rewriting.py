"""A recording's segments as they are to be written, with their words and parts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from frontend.audio.joining import separator
from frontend.audio.timed import Timed
from frontend.wording.edits import WordsLost
from frontend.wording.stage import MOST_TOLD, Worded, Wording, spoken
from frontend.wording.wanted import Wanted


@dataclass
class Rewriting:
    """Of one recording. language: that was asked for; it holds where none is heard."""

    wording: Wording
    wanted: Wanted
    language: str | None = None
    # What debug tells: what was taken for hotwords, edits by step, milliseconds.
    _told: list[dict[str, Any]] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)
    _milliseconds: float = 0.0

    async def of(self, timed: Timed, language: str | None) -> Timed:
        """A segment as it is written. What one speaker says of it is rewritten by itself: nobody finishes another's
        numbers. language: that was heard."""
        language = spoken(language, self.language)
        if not timed.parts:
            return await self._one(timed, language)
        parts: list[Timed] = []
        text, error = "", ""
        for part in timed.parts:
            made = await self._one(part, language)
            error = error or made.correction_error
            if made.text:
                between = part.words[0].before if part.words and text else separator(text, made.text)
                text += between + made.text
                parts.append(made)
        if len(parts) == 1:
            return replace(parts[0], correction_error=error)
        return replace(timed, text=text, parts=tuple(parts), words=(), correction_error=error)

    def meta(self) -> dict[str, Any]:
        """What debug tells."""
        return {"replacements": self._told, "edits": self._counts, "ms": round(self._milliseconds, 3)}

    async def _one(self, timed: Timed, language: str | None) -> Timed:
        worded = await self.wording.worded(timed.text, language, self.wanted)
        self._note(worded)
        made = replace(timed, text=worded.text, correction_error=worded.error)
        if not timed.words:
            return made
        try:
            return replace(made, words=worded.words(timed.words))
        except WordsLost as lost:
            return replace(made, words=(), words_error=str(lost))

    def _note(self, worded: Worded) -> None:
        self._told += [*worded.told][: MOST_TOLD - len(self._told)]
        self._milliseconds += worded.milliseconds
        for step, count in worded.counts.items():
            self._counts[step] = self._counts.get(step, 0) + count
