"""Who speaks in each utterance: asked for beside everything else, told in order, and corrected where it turns out."""

from __future__ import annotations

import asyncio
import itertools
import logging
import string
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import events
from .aligning import LAST_S, LATER_PATIENCE_S, MOST_WAITING, PATIENCE_S, Said
from .endpointing import WINDOW
from .retrying import retried
from .rooms import Floats, RoomFailed, Rooms, Voiced

logger = logging.getLogger(__name__)
TOO_MANY = "too many utterances wait to be told apart"
# Utterances whose speaker may still be corrected, and windows of the detector that are kept: the longest utterance's.
MOST_CORRECTED, MOST_JUDGED = 200, 4_000
# An utterance in which no voice was found has no speaker.
NOBODY = ""


class Judged:
    """What the detector of speech said of each window, by the session's samples."""

    def __init__(self) -> None:
        self._windows: deque[tuple[int, float]] = deque(maxlen=MOST_JUDGED)

    def add(self, start: int, probability: float) -> None:
        """Of the window from `start` on; what was said of it and later ones before is no longer true."""
        while self._windows and self._windows[-1][0] >= start:
            self._windows.pop()
        self._windows.append((start, probability))

    def of(self, start: int, end: int) -> Floats | None:
        """Of whole windows between two samples, the first one as if it began at `start`; None where none was judged."""
        found = [probability for first, probability in self._windows if start <= first <= end - WINDOW]
        return np.array(found, dtype=np.float32) if found else None


@dataclass
class _Utterance:
    """start: its first sample; turns: number, first and last sample of each; told: who was said to speak in it."""

    start: int
    turns: list[tuple[int, int, int]]
    told: str = NOBODY


@dataclass(frozen=True)
class Asked:
    """What the room answered, or why it did not; since: the state that it went on from."""

    answer: Voiced | str
    since: bytes


class Voices:
    """Made and used on the session's event loop. Voices are in the state that goes to the room and comes back: it is
    dropped with the session."""

    def __init__(self, rooms: Rooms, say: Callable[[dict[str, Any]], None], told_before: int = 0) -> None:
        """told_before: speakers of the session that this one goes on from, whose letters are not given again."""
        self.judged = Judged()
        self._rooms = rooms
        self._say = say
        self._told_before = told_before
        self._state = b""
        self._of_turn: dict[int, int] = {}
        self._utterances: dict[int, _Utterance] = {}
        self._waiting: list[Said] = []
        self._worker: asyncio.Task[None] | None = None
        self._in_vain = False

    async def now(self, said: Said, priority: int, ahead: asyncio.Task[Asked] | None) -> events.Event:
        """What a final says of its speaker. ahead: where that was asked already; it counts where nothing has been told
        since."""
        if self._worker is not None and not self._worker.done():
            # Of finals before, of which this one's answer depends.
            await asyncio.wait([self._worker], timeout=PATIENCE_S)
        asked = await ahead if ahead is not None else None
        if asked is None or asked.since != self._state:
            asked = await self.ask(said, priority)
        return self.take(said, asked.answer)

    async def ask(self, said: Said, priority: int) -> Asked:
        """What the room answers, or why it does not; no later than PATIENCE_S, and sooner where it did not answer the
        last time. Nothing is taken over."""
        since = self._state
        if not said.heard.text:
            return Asked("nothing was said", since)

        async def ask() -> Voiced:
            return await self._rooms.voices(said.pcm, said.judged, since, priority)

        patience_s = LATER_PATIENCE_S if self._in_vain else PATIENCE_S
        self._in_vain = True
        try:
            answer = await asyncio.wait_for(retried(ask, patience_s, f"speakers of {said.number}"), patience_s)
        except (RoomFailed, asyncio.TimeoutError) as error:
            return Asked(str(error) or "who speaks was not found in time", since)
        except Exception as error:
            # The text is known, and is told whoever says it.
            logger.exception("who speaks could not be asked")
            return Asked(f"who speaks could not be asked: {error}", since)
        self._in_vain = False
        return Asked(answer, since)

    def take(self, said: Said, answer: Voiced | str) -> events.Event:
        """Go on from an answer: `speaker`, with `turns` where there are several, or `speaker_error`."""
        if isinstance(answer, str):
            return {"speaker": NOBODY, "speaker_error": answer}
        self._state = answer.state
        self._of_turn |= answer.speakers
        turns = [
            (number, said.start + first, said.start + last)
            for number, (first, last) in zip(answer.numbers, answer.turns, strict=True)
        ]
        mine = self._utterances[said.number] = _Utterance(said.start, turns)
        while len(self._utterances) > MOST_CORRECTED:
            gone = self._utterances.pop(next(iter(self._utterances)))
            for number, _, _ in gone.turns:
                self._of_turn.pop(number, None)
        mine.told = self._speaker(mine)
        return self._told(mine)

    def correct(self) -> None:
        """Tell of those utterances that are somebody else's, as it turns out."""
        for number, one in self._utterances.items():
            speaker = self._speaker(one)
            if speaker != one.told:
                one.told = speaker
                self._say(events.speaker_event(number, self._told(one)))

    def follow(self, said: Said, priority: int) -> None:
        """Tell by an event, once it is known; never waits."""
        if len(self._waiting) >= MOST_WAITING:
            self._say(events.speaker_event(said.number, {"speaker": NOBODY, "speaker_error": TOO_MANY}))
            return
        self._waiting.append(said)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._work(priority))

    async def settle(self) -> None:
        """Return when all are told, or after LAST_S; what is not known by then is told as such."""
        if self._worker is not None:
            await asyncio.wait([self._worker], timeout=LAST_S)
            error = "the session ended before it was known who speaks"
            for said in self._waiting:
                self._say(events.speaker_event(said.number, {"speaker": NOBODY, "speaker_error": error}))
        self.cancel()

    def cancel(self) -> None:
        self._waiting.clear()
        if self._worker is not None:
            self._worker.cancel()

    async def _work(self, priority: int) -> None:
        while self._waiting:
            asked = await self.ask(self._waiting[0], priority)
            said = self._waiting.pop(0)
            self._say(events.speaker_event(said.number, self.take(said, asked.answer)))
            self.correct()

    def _speaker(self, one: _Utterance) -> str:
        """Who speaks most of it."""
        spoken: dict[int, int] = {}
        for number, first, last in one.turns:
            speaker = self._of_turn.get(number, -1)
            spoken[speaker] = spoken.get(speaker, 0) + last - first
        return self._letters(max(spoken, key=lambda speaker: spoken[speaker])) if spoken else NOBODY

    def _told(self, one: _Utterance) -> events.Event:
        runs: list[tuple[str, int, int]] = []
        for number, first, last in one.turns:
            name = self._letters(self._of_turn.get(number, -1))
            if runs and runs[-1][0] == name:
                runs[-1] = (name, runs[-1][1], last)
            else:
                runs.append((name, first, last))
        told: events.Event = {"speaker": one.told}
        if len(runs) > 1:
            told["turns"] = [events.turn(name, first, last) for name, first, last in runs]
        return told

    def _letters(self, speaker: int) -> str:
        """A, B, …, Z, AA, …"""
        if speaker < 0:
            return NOBODY
        names = itertools.chain.from_iterable(
            itertools.product(string.ascii_uppercase, repeat=length) for length in itertools.count(1)
        )
        return "".join(next(itertools.islice(names, self._told_before + speaker, None)))
