"""A live session's finals as they are to be written; partials stay as they are, and what is stable stable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from frontend.audio.words import Word
from frontend.triton.client import TritonUnavailable
from frontend.wording.edits import WordsLost
from frontend.wording.hotwords import read_hotwords
from frontend.wording.stage import Worded, Wording, spoken
from frontend.wording.wanted import SETTINGS, Wanted, checked

# Finals whose words may follow, and are to be found in their text.
MOST_REMEMBERED = 200
# Finals of one session that wait for a language model; more are not corrected.
MOST_WAITING = 8
TOO_MANY = "too many texts of this session wait to be corrected"
# A final is corrected while somebody may still read it, whatever the endpoint's own time is.
MOST_LIVE_S = 30.0
TOO_SLOW = f"no correction was there in {MOST_LIVE_S:g} s"
# What is still asked when the session is closed, which has to end in LAST_WORDS_S of `duplex`.
LAST_S = 10.0
TOO_LATE = "the session ended before the correction was there"


class LiveWording:
    """Of one session. Settings hold for the finals that are told from then on. Leave it by `close`."""

    def __init__(self, wording: Wording) -> None:
        self._wording = wording
        self._given: dict[str, Any] = {}
        self._hotwords: tuple[str, ...] = ()
        self._language = ""
        self._wanted = Wanted()
        self._preparing: asyncio.Task[None] | None = None
        # With the number of the utterance and the text that was shown.
        self._correcting: dict[asyncio.Task[dict[str, Any]], tuple[int, str]] = {}
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
                if event is None or event["type"] == "closed":
                    async for corrected in self._last():
                        yield corrected
                if event is None:
                    return
                yield await self._as_written(event)
        except TritonUnavailable:
            # Each correction that was promised is told, one way or the other.
            for corrected in self._abandoned():
                yield corrected
            raise
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
            self._correcting[task] = number, worded.text
        return event

    async def _corrected(self, number: int, formed: Worded, shown: str, wanted: Wanted) -> dict[str, Any]:
        if len(self._correcting) > MOST_WAITING:
            return _corrected_event(number, shown, TOO_MANY)
        try:
            corrected = await asyncio.wait_for(self._wording.corrected(formed, wanted), MOST_LIVE_S)
        except asyncio.TimeoutError:
            return _corrected_event(number, shown, TOO_SLOW)
        if corrected.error:
            return _corrected_event(number, shown, corrected.error)
        return _corrected_event(number, (await self._wording.masked(corrected, wanted, is_live=True)).text)

    def _done(self) -> list[dict[str, Any]]:
        done = [task for task in self._correcting if task.done()]
        for task in done:
            del self._correcting[task]
        return [task.result() for task in done]

    async def _last(self) -> AsyncIterator[dict[str, Any]]:
        until = time.monotonic() + LAST_S
        while self._correcting and (left_s := until - time.monotonic()) > 0:
            await asyncio.wait(self._correcting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            for corrected in self._done():
                yield corrected
        for corrected in self._abandoned():
            yield corrected

    def _abandoned(self) -> list[dict[str, Any]]:
        """Of what is still asked, the texts as they were shown; nobody waits for it any more."""
        abandoned, self._correcting = self._correcting, {}
        for task in abandoned:
            task.cancel()
        return [_corrected_event(number, shown, TOO_LATE) for number, shown in abandoned.values()]


def _corrected_event(number: int, text: str, error: str = "") -> dict[str, Any]:
    event = {"type": "corrected", "utterance": number, "text": text}
    return {**event, "correction_error": error} if error else event


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
