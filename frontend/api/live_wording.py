"""A live session's finals as they are to be written; partials stay as they are, and what is stable stable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from frontend.audio.words import Word
from frontend.wording.edits import WordsLost
from frontend.wording.hotwords import read_hotwords
from frontend.wording.stage import Worded, Wording, spoken
from frontend.wording.wanted import SETTINGS, Wanted, checked

# Finals whose words may follow, and are to be found in their text.
MOST_REMEMBERED = 200
# Finals of one session that wait for a language model; more are not corrected.
MOST_WAITING = 8
TOO_MANY = "too many texts of this session wait to be corrected"
# Of a closed session: a question has its own deadline, and some of them wait for each other.
LAST_S = 30.0


class LiveWording:
    """Of one session. Settings hold for the finals that are told from then on. Leave it by `close`."""

    def __init__(self, wording: Wording) -> None:
        self._wording = wording
        self._given: dict[str, Any] = {}
        self._hotwords: tuple[str, ...] = ()
        self._language = ""
        self._wanted = Wanted()
        self._preparing: asyncio.Task[None] | None = None
        self._correcting: dict[asyncio.Task[dict[str, Any]], None] = {}
        # By utterance: what partials called stable, and finals whose words follow.
        self._stable: dict[int, str] = {}
        self._worded: dict[int, Worded] = {}

    def change(self, settings: Mapping[str, Any], heard: Mapping[str, Any]) -> None:
        """Take what is set of the wording, of settings that may hold others too. heard: what the recognizer is told
        with them. Raises WordingMistake, and changes nothing."""
        mine = {name: value for name, value in settings.items() if name in SETTINGS}
        hotwords = self._hotwords
        if "hotwords" in heard:
            hotwords = tuple(one.phrase for one in read_hotwords(heard["hotwords"]))
        if mine or hotwords != self._hotwords:
            wanted = self.checked(mine, hotwords)
            self._given |= mine
            self._hotwords, self._wanted = hotwords, wanted
            if wanted.rewrites:
                self._preparing = asyncio.create_task(self._wording.prepare(wanted))
        self._language = str(heard.get("language", self._language) or "")

    def checked(self, settings: Mapping[str, Any], hotwords: Sequence[str] = ()) -> Wanted:
        """What would be wanted with these settings beside those that hold. Raises WordingMistake."""
        return checked(
            {**self._given, **{name: value for name, value in settings.items() if name in SETTINGS}},
            self._wording.filters.names,
            self._wording.roles,
            has_endpoint=self._wording.has_endpoint,
            hotwords=hotwords,
            is_live=True,
        )

    async def events(self, told: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        """The session's events with its finals rewritten, and an event `corrected` behind those that a language model
        looks at, when it is done, and before the session is closed."""
        reading: asyncio.Task[dict[str, Any] | None] | None = None
        try:
            while True:
                if not self._correcting and reading is None:
                    event = await _next(told)
                else:
                    reading = reading or asyncio.create_task(_next(told))
                    waited_for: list[asyncio.Task[Any]] = [reading, *self._correcting]
                    await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
                    for corrected in self._done():
                        yield corrected
                    if not reading.done():
                        continue
                    event, reading = reading.result(), None
                if event is None:
                    return
                if event["type"] == "closed":
                    async for corrected in self._last():
                        yield corrected
                yield await self._as_written(event)
        finally:
            if reading is not None:
                reading.cancel()

    async def close(self) -> None:
        """What is still to be corrected is not, any more."""
        tasks = [*self._correcting, *([self._preparing] if self._preparing is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _as_written(self, event: dict[str, Any]) -> dict[str, Any]:
        kind, number = event["type"], event.get("utterance", 0)
        if kind == "partial":
            self._stable[number] = event["stable"]
        elif kind == "final":
            stable = self._stable.pop(number, "")
            return await self._final(event, stable) if self._wanted.rewrites else event
        elif kind == "words" and (worded := self._worded.pop(number, None)) is not None:
            return _with_words(event, worded)
        elif kind == "error":
            self._stable.pop(number, None)
        elif kind == "reset":
            self._stable.clear()
        return event

    async def _final(self, event: dict[str, Any], stable: str) -> dict[str, Any]:
        wanted, number, text = self._wanted, event["utterance"], event["text"]
        if self._preparing is not None:
            await self._preparing
        language = spoken(event.get("language"), self._language)
        worded, formed = await self._wording.final(text, language, wanted)
        event = {**event, "text": worded.text}
        if worded.is_other:
            event |= {"recognized": text, "revised": not worded.text.startswith(stable)}
        if "words" in event:
            event = _with_words(event, worded)
        if event.get("words_follow"):
            self._worded[number] = worded
            while len(self._worded) > MOST_REMEMBERED:
                self._worded.pop(next(iter(self._worded)))
        if "meta" in event:
            event["meta"] = {**event["meta"], "wording": {"replacements": list(worded.told), "edits": worded.counts}}
        if wanted.corrects and worded.text.strip():
            event["correction_follows"] = True
            task = asyncio.create_task(self._corrected(number, formed, worded.text, wanted))
            self._correcting[task] = None
        return event

    async def _corrected(self, number: int, formed: Worded, shown: str, wanted: Wanted) -> dict[str, Any]:
        event: dict[str, Any] = {"type": "corrected", "utterance": number, "text": shown}
        if len(self._correcting) > MOST_WAITING:
            return {**event, "correction_error": TOO_MANY}
        corrected, answer = await self._wording.corrected(formed, wanted)
        if answer.error:
            return {**event, "correction_error": answer.error}
        return {**event, "text": self._wording.masked(corrected, wanted).text}

    def _done(self) -> list[dict[str, Any]]:
        done = [task for task in self._correcting if task.done()]
        for task in done:
            del self._correcting[task]
        return [task.result() for task in done]

    async def _last(self) -> AsyncIterator[dict[str, Any]]:
        if self._correcting:
            await asyncio.wait(self._correcting, timeout=LAST_S)
        for corrected in self._done():
            yield corrected


async def _next(told: AsyncIterator[dict[str, Any]]) -> dict[str, Any] | None:
    return await anext(told, None)


def _with_words(event: dict[str, Any], worded: Worded) -> dict[str, Any]:
    """The event with the words of the text as it is written."""
    if not worded.steps or not event["words"]:
        return event
    words = [Word(one["word"], one["start"], one["end"], one["confidence"]) for one in event["words"]]
    try:
        made = worded.words(words)
    except WordsLost as lost:
        return {**event, "words": [], "words_error": str(lost)}
    told = [
        {"word": one.word, "start": round(one.start, 3), "end": round(one.end, 3), "confidence": one.confidence}
        for one in made
    ]
    return {**event, "words": told}
