"""Who speaks in each utterance: asked for beside everything else, told in order, and corrected where it turns out."""

from __future__ import annotations

import asyncio
import itertools
import string
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import events
from .beside import PATIENCE_S, Beside, Said
from .endpointing import WINDOW
from .rooms import Floats, Rooms, Voiced

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


class Voices(Beside):
    """Voices are in the state that goes to the room and comes back: it is dropped with the session."""

    too_many = "too many utterances wait to be told apart"
    too_late = "the session ended before it was known who speaks"
    no_answer = "who speaks was not found in time"
    not_asked = "who speaks could not be asked"

    def __init__(self, rooms: Rooms, say: Callable[[dict[str, Any]], None], told_before: int = 0) -> None:
        """told_before: speakers of the session that this one goes on from, whose letters are not given again."""
        super().__init__()
        self.judged = Judged()
        self._rooms = rooms
        self._say = say
        self._told_before = told_before
        self._state = b""
        self._of_turn: dict[int, int] = {}
        self._utterances: dict[int, _Utterance] = {}

    async def now(self, said: Said, priority: int, ahead: asyncio.Task[Asked] | None) -> events.Event:
        """What a final says of its speaker. ahead: where that was asked already; it counts where nothing has been told
        since."""
        # Of finals before, on which this one's answer depends.
        await self.followed(PATIENCE_S)
        asked = await ahead if ahead is not None else None
        if asked is None or asked.since != self._state:
            asked = await self.ask(said, priority)
        return self.take(said, asked.answer)

    async def ask(self, said: Said, priority: int) -> Asked:
        """What the room answers, or why it does not; nothing is taken over."""
        since = self._state
        if not said.heard.text:
            return Asked("nothing was said", since)

        async def ask() -> Voiced:
            return await self._rooms.voices(said.pcm, said.judged, since, priority)

        return Asked(await self.asked(said, ask), since)

    async def found(self, said: Said, priority: int) -> events.Event:
        return self.take(said, (await self.ask(said, priority)).answer)

    def told(self, said: Said, told: events.Event) -> None:
        self._say(events.speaker_event(said.number, told))
        self.correct()

    def missing(self, why: str) -> events.Event:
        return {"speaker": NOBODY, "speaker_error": why}

    def take(self, said: Said, answer: Voiced | str) -> events.Event:
        """Go on from an answer: `speaker`, with `turns` where there are several, or `speaker_error`."""
        if isinstance(answer, str):
            return self.missing(answer)
        self._state = answer.state
        turns = [
            (number, said.start + first, said.start + last)
            for number, (first, last) in zip(answer.numbers, answer.turns, strict=True)
        ]
        mine = self._utterances[said.number] = _Utterance(said.start, turns)
        while len(self._utterances) > MOST_CORRECTED:
            self._utterances.pop(next(iter(self._utterances)))
        # The room tells of more turns than may be corrected here, every time.
        oldest = min((one.turns[0][0] for one in self._utterances.values() if one.turns), default=0)
        known = self._of_turn | answer.speakers
        self._of_turn = {number: speaker for number, speaker in known.items() if number >= oldest}
        mine.told = self._speaker(mine)
        return self._told(mine)

    def correct(self) -> None:
        """Tell of those utterances that are somebody else's, as it turns out."""
        for number, one in self._utterances.items():
            speaker = self._speaker(one)
            if speaker != one.told:
                one.told = speaker
                self._say(events.speaker_event(number, self._told(one)))

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
