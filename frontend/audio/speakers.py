"""Who speaks in a recording: its segments in order, cut where somebody else speaks, and what everybody is called."""

from __future__ import annotations

import asyncio
import itertools
import string
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from frontend.audio.attempts import asked
from frontend.audio.segments import SAMPLE_RATE_HZ, Segment
from frontend.audio.timed import Timed, Token
from frontend.audio.words import Word
from frontend.triton.client import TritonClient, TritonRefused, TritonUnavailable
from frontend.triton.speaking import Apart, told_apart

Floats = NDArray[np.float32]
NO_TIME = "the speakers of a segment were not found in time"
# The most that a segment, whose text is known, waits to be told whose it is, with all attempts.
PATIENCE_S = 60.0
# The same where another segment waited in vain.
LATER_PATIENCE_S = 5.0
# Of somebody whose speech could not be told apart.
UNKNOWN = ""


@dataclass(frozen=True)
class Wanted:
    """How to tell speakers apart: names of those that are known, their references, float32 at 16 kHz, and what vad says
    of these; how many there are at least and at most, 0 where that is not known."""

    names: tuple[str, ...] = ()
    references: tuple[Floats, ...] = ()
    judged: tuple[Floats, ...] = ()
    at_least: int = 0
    at_most: int = 0

    @property
    def limits(self) -> dict[str, int]:
        given = {"min_speakers": self.at_least, "max_speakers": self.at_most}
        return {name: value for name, value in given.items() if value}

    def name(self, speaker: int) -> str:
        """The known by their names; the others A, B, …, Z, AA, …, but for what somebody is called."""
        if speaker < len(self.names):
            return self.names[speaker]
        free = (letters for letters in _letters() if letters not in self.names)
        return next(itertools.islice(free, speaker - len(self.names), None))


def _letters() -> itertools.chain[str]:
    return itertools.chain.from_iterable(
        map("".join, itertools.product(string.ascii_uppercase, repeat=length)) for length in itertools.count(1)
    )


@dataclass
class Speakers:
    """Of one recording. Its state holds voices, lives as long as the recording does and goes nowhere but to Triton."""

    connected: Callable[[], Awaitable[TritonClient]]
    wanted: Wanted
    priority: int
    request_id: str
    patience_s: float = PATIENCE_S
    # Who speaks in each turn of the recording, as is known by now.
    of_turn: dict[int, int] = field(default_factory=dict)
    _state: bytes = b""
    _is_known: bool = False
    _next: int = 0
    _done: set[int] = field(default_factory=set)
    _moved: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        self._patience_s = self.patience_s

    async def added(self, number: int, timed: Timed, segment: Segment) -> Timed:
        """A segment's text with its speakers: `parts` where there are several. number: of the segment; the others are
        waited for, because who spoke before says who speaks."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._next == number)
        if not timed.text:
            return timed
        try:
            apart = await self._asked(segment)
        except (TritonUnavailable, TritonRefused) as error:
            # The text is known, and is told. A long recording would run out of its own time, waiting for each segment.
            if not (isinstance(error, TritonRefused) and error.invalid):
                self._patience_s = min(self.patience_s, LATER_PATIENCE_S)
            return replace(timed, speaker_error=str(error))
        self._patience_s = self.patience_s
        self.of_turn |= apart.speakers
        parts = _divided(timed, apart, segment) if timed.words else [replace(timed, turn=_longest(apart))]
        parts = self._joined(parts, {})
        return parts[0] if len(parts) == 1 else replace(timed, parts=tuple(parts))

    async def done(self, number: int) -> None:
        """Whatever became of the segment, the next one has its turn."""
        async with self._moved:
            # It may be done before those in front of it, which have their turns first; and told so twice.
            if number >= self._next:
                self._done.add(number)
            while self._next in self._done:
                self._done.remove(self._next)
                self._next += 1
            self._moved.notify_all()

    def final(self, segments: Sequence[Timed]) -> tuple[list[str], list[Timed]]:
        """A whole recording's segments as it is known at its end who spoke: the speaker of each, and neighbours joined.
        Letters are in the order of appearance, as those of some that turned out to be one are free."""
        unnamed = len(self.wanted.names)
        seen = [self.of_turn[one.turn] for one in segments if one.turn in self.of_turn]
        others = [speaker for speaker in dict.fromkeys(seen) if speaker >= unnamed]
        order = {speaker: place for place, speaker in enumerate(others, unnamed)}
        return [self._name(one, order) for one in segments], self._joined(segments, order)

    def _name(self, timed: Timed, order: dict[int, int]) -> str:
        speaker = self.of_turn.get(timed.turn)
        return UNKNOWN if speaker is None else self.wanted.name(order.get(speaker, speaker))

    def _joined(self, parts: Sequence[Timed], order: dict[int, int]) -> list[Timed]:
        """Neighbours of one segment that one speaker says, as one, each with its speaker's name as far as that is known
        by now. order: places of speakers whose numbers are others."""
        made: list[Timed] = []
        for part in (replace(one, speaker=self._name(one, order)) for one in parts):
            if made and made[-1].speaker == part.speaker and made[-1].segment == part.segment:
                made[-1] = _as_one(made[-1], part)
            else:
                made.append(part)
        return made

    async def _asked(self, segment: Segment) -> Apart:
        if not self._is_known:
            # All of them or none: their places are their names.
            state = b""
            for reference, judged in zip(self.wanted.references, self.wanted.judged, strict=True):
                state = (await self._attempted(reference, state, probabilities=judged, known=True)).state
            self._state, self._is_known = state, True
        apart = await self._attempted(segment.pcm, self._state, probabilities=segment.probabilities)
        self._state = apart.state
        return apart

    async def _attempted(
        self, pcm: Floats, state: bytes, *, probabilities: Floats | None = None, known: bool = False
    ) -> Apart:
        async def ask(client: TritonClient, timeout_s: float) -> Apart:
            return await told_apart(
                client,
                pcm,
                probabilities=probabilities,
                known=known,
                state=state,
                limits=self.wanted.limits,
                priority=self.priority,
                request_id=self.request_id,
                timeout_s=timeout_s,
            )

        return await asked(self.connected, self._patience_s, ask, NO_TIME)


def _turns_of_words(words: Sequence[Word], apart: Apart, segment: Segment) -> list[int]:
    """For each word the number of the turn that shares most of its time with it, or is nearest; never one before that
    of the word before."""
    turns = apart.turns.astype(np.float64)
    times = np.array([[word.start, word.end] for word in words]) * SAMPLE_RATE_HZ - segment.start
    shared = np.minimum(times[:, None, 1], turns[None, :, 1]) - np.maximum(times[:, None, 0], turns[None, :, 0])
    best = np.maximum.accumulate(shared.argmax(axis=1))
    return (best + apart.turn_of_span[0]).tolist()


def _longest(apart: Apart) -> int:
    """The turn that has most of a stretch; -1 where nothing is said in it."""
    if not len(apart.turns):
        return -1
    seconds: dict[int, int] = {}
    first = apart.turn_of_span[0]
    for number, (start, end) in enumerate(apart.turns.tolist(), first):
        speaker = apart.speakers.get(number, -1)
        seconds[speaker] = seconds.get(speaker, 0) + end - start
    most = max(seconds, key=lambda one: seconds[one])
    return next(first + n for n in range(len(apart.turns)) if apart.speakers.get(first + n, -1) == most)


def _divided(timed: Timed, apart: Apart, segment: Segment) -> list[Timed]:
    """A segment at its turns: each part has its words, their text, and the tokens that begin in it."""
    if not len(apart.turns):
        return [timed]
    parts = []
    tokens = list(timed.tokens)
    numbers = _turns_of_words(timed.words, apart, segment)
    for turn, group in itertools.groupby(zip(numbers, timed.words, strict=True), key=lambda one: one[0]):
        mine = tuple(word for _, word in group)
        text = "".join(word.text for word in mine)
        own, tokens = _until(tokens, len(text.encode()))
        parts.append(
            replace(
                timed,
                start=mine[0].start,
                end=mine[-1].end,
                text=text.strip(),
                words=mine,
                tokens=tuple(own),
                turn=turn,
            )
        )
    # A segment begins and ends where its sound does.
    parts[0] = replace(parts[0], start=timed.start)
    parts[-1] = replace(parts[-1], end=timed.end, tokens=(*parts[-1].tokens, *tokens))
    return parts


def _until(tokens: list[Token], num_bytes: int) -> tuple[list[Token], list[Token]]:
    """The tokens that begin within so many bytes, and the others."""
    place = 0
    for index, token in enumerate(tokens):
        if place >= num_bytes:
            return tokens[:index], tokens[index:]
        place += len(token.data)
    return tokens, []


def _as_one(one: Timed, other: Timed) -> Timed:
    before = other.words[0].before if other.words else " "
    return replace(
        one,
        end=other.end,
        text=one.text + before + other.text,
        words=one.words + other.words,
        tokens=one.tokens + other.tokens,
    )
