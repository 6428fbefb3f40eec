"""A recording of any length as text: cut at pauses while it is read, many segments at once, text in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frontend.audio.attempts import Losses, asked, attempts
from frontend.audio.decode_pool import DecodePool
from frontend.audio.joining import separator
from frontend.audio.rewriting import Rewriting
from frontend.audio.segments import SAMPLE_RATE_HZ, Segment, SegmentRules, segments
from frontend.audio.speakers import PATIENCE_S, Speakers, Wanted
from frontend.audio.timed import Timed, Token
from frontend.audio.transcript import Piece
from frontend.audio.word_times import WordTimes
from frontend.triton.client import TritonClient, TritonRefused, TritonUnavailable

Floats = NDArray[np.float32]
NO_TIME = "a segment found no answer in its time"
# How the decoder says that it dropped a request without an answer.
DROPPED = ("cancelled", "evicted")


@dataclass(frozen=True)
class Options:
    """How to hear. rules: None takes a recording that is short enough in one piece, as a gRPC client would; patience_s:
    of one segment, with all attempts where Triton is lost or has no place; deltas: text comes as it is heard, otherwise
    each segment's at once, which is cheaper; words: when each was said, with its segment; speakers: who says it, of a
    recording that is cut (`rules`); hotwords: as the decoder has them."""

    request_id: str
    language: str | None = None
    context: str | None = None
    temperature: float = 0.0
    priority: int = 2
    rules: SegmentRules | None = None
    patience_s: float = 300.0
    deltas: bool = True
    words: bool = False
    speakers: Wanted | None = None
    hotwords: str = ""


class Recording:
    """One recording on its way: `pieces` are its text, `seconds` what was read of it."""

    def __init__(
        self,
        connected: Callable[[], Awaitable[TritonClient]],
        parts: Iterator[Floats],
        options: Options,
        at_a_time: int,
        pool: DecodePool | None,
        rewriting: Rewriting | None = None,
    ) -> None:
        """connected: the connection there is; asked again where Triton is lost. parts: samples as they are decoded;
        taken from a thread of the pool, or at once where there is none. at_a_time: segments in work, which bounds
        memory. rewriting: what becomes of each segment's text, which is told at once then."""
        self._connected = connected
        self._parts = parts
        self._options = options
        self._at_a_time = at_a_time
        self._pool = pool
        self._rewriting = rewriting
        self._words = WordTimes(
            connected, priority=options.priority, request_id=options.request_id, patience_s=options.patience_s
        )
        self.speakers = (
            None
            if options.speakers is None
            else Speakers(
                connected, options.speakers, options.priority, options.request_id, min(options.patience_s, PATIENCE_S)
            )
        )
        self.seconds = 0.0

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """Text in order, as soon as it is there. Raises what decoding, Triton or the time limit raise."""
        first: list[Floats] = []
        rules = self._options.rules
        if self._pool is not None:
            self._pool.check()
        if rules is None:
            # Short enough for one request, it is taken as it is.
            at_end = await self._beginning(first)
            if at_end:
                segment = Segment(0, first[0] if len(first) == 1 else np.concatenate(first))
                async with contextlib.aclosing(self._told(segment, 0, lambda: None)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
        async with contextlib.aclosing(self._many(first, rules or SegmentRules())) as pieces:
            async for piece in pieces:
                yield piece

    async def _many(self, first: list[Floats], rules: SegmentRules) -> AsyncGenerator[Piece, None]:
        """The pieces of a recording that is cut at pauses; `first` was read of it already."""
        queues: asyncio.Queue[asyncio.Queue[Piece | BaseException | None] | BaseException | None] = asyncio.Queue()
        producer = asyncio.create_task(self._produce(queues, segments(self._read(first), self._vad, rules)))
        before = ""
        try:
            while (queue := await queues.get()) is not None:
                if isinstance(queue, BaseException):
                    raise queue
                begun = False
                while (piece := await queue.get()) is not None:
                    if isinstance(piece, BaseException):
                        raise piece
                    if piece.text and not begun:
                        begun = True
                        piece = replace(piece, text=separator(before, piece.text) + piece.text)
                    before = piece.text[-1:] or before
                    yield piece
        finally:
            producer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await producer

    async def _produce(self, queues: asyncio.Queue[Any], found: AsyncIterator[Segment]) -> None:
        places = asyncio.Semaphore(self._at_a_time)
        tasks: set[asyncio.Task[None]] = set()
        try:
            try:
                number = 0
                async for segment in found:
                    await places.acquire()
                    queue: asyncio.Queue[Piece | BaseException | None] = asyncio.Queue()
                    queues.put_nowait(queue)
                    task = asyncio.create_task(self._transcribe(segment, number, queue, places))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    # Its samples are the task's alone.
                    del segment
                    number += 1
                queues.put_nowait(None)
            except Exception as error:
                # It is told in its place: after what was read before.
                queues.put_nowait(error)
            if tasks:
                await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()

    def _attempts(self) -> AsyncIterator[tuple[TritonClient, float]]:
        return attempts(self._connected, self._options.patience_s)

    async def _vad(self, pcm: Floats, state: Floats) -> tuple[Floats, Floats]:
        async def ask(client: TritonClient, _: float) -> tuple[Floats, Floats]:
            probabilities, after = await client.vad(pcm, state)
            return probabilities, after

        return await asked(self._connected, self._options.patience_s, ask, NO_TIME)

    async def _beginning(self, first: list[Floats]) -> bool:
        """Fill `first` with as much as goes into one request; whether that is all."""
        longest = SegmentRules().max_s
        while self.seconds <= longest:
            part = await self._next_part()
            if part is None:
                return True
            first.append(part)
        return False

    async def _read(self, first: list[Floats]) -> AsyncIterator[Floats]:
        for part in first:
            yield part
        while (next_part := await self._next_part()) is not None:
            yield next_part

    async def _next_part(self) -> Floats | None:
        part = next(self._parts, None) if self._pool is None else await self._pool.run(lambda: next(self._parts, None))
        if part is not None:
            self.seconds += part.size / SAMPLE_RATE_HZ
        return part

    async def _transcribe(
        self, segment: Segment, number: int, queue: asyncio.Queue[Any], places: asyncio.Semaphore
    ) -> None:
        with contextlib.ExitStack() as place:
            place.callback(places.release)
            told = self._told(segment, number, place.close)
            del segment
            try:
                async with contextlib.aclosing(told) as pieces:
                    async for piece in pieces:
                        queue.put_nowait(piece)
                queue.put_nowait(None)
            except Exception as error:
                queue.put_nowait(error)
            finally:
                if self.speakers is not None:
                    await self.speakers.done(number)

    async def _told(self, segment: Segment, number: int, heard: Callable[[], None]) -> AsyncGenerator[Piece, None]:
        """The pieces of a segment, as they are to be written. heard: called when only that is left to be done, for
        which it needs neither a place nor its samples."""
        last: Piece | None = None
        pieces = self._heard(segment, number)
        del segment
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                if self._rewriting is None or piece.segment is None or piece.result is None:
                    yield piece
                else:
                    last = piece
        if last is not None and self._rewriting is not None and last.segment is not None and last.result is not None:
            heard()
            timed = await self._rewriting.of(last.segment, last.result["language"])
            yield replace(last, text=timed.text, segment=timed)

    async def _heard(self, segment: Segment, number: int) -> AsyncGenerator[Piece, None]:
        options = self._options
        parameters: dict[str, str | int | float | bool] = {} if options.deltas else {"deltas": False}
        if options.hotwords:
            parameters["hotwords"] = options.hotwords
        if options.temperature:
            parameters["temperature"] = options.temperature
        start, end = segment.start / SAMPLE_RATE_HZ, segment.end / SAMPLE_RATE_HZ
        losses = Losses()
        # What was told is not told again: another attempt begins with the same text, and goes on from there.
        told, num_told = "", 0
        async for client, timeout_s in self._attempts():
            deltas = client.transcribe(
                segment.pcm,
                language=options.language,
                context=options.context,
                priority=options.priority,
                request_id=f"{options.request_id}-{number}" if number else options.request_id,
                parameters=parameters,
                timeout_s=timeout_s,
            )
            tokens: tuple[Token, ...] = ()
            text = ""
            heard: tuple[Timed, dict[str, Any]] | None = None
            try:
                async with contextlib.aclosing(deltas):
                    async for delta in deltas:
                        text += delta.text
                        parts = zip(delta.token_ids, delta.tokens, delta.logprobs, strict=True)
                        tokens += tuple(Token(*one) for one in parts if one[1])
                        result = delta.result
                        if result is not None and result["finish_reason"] in DROPPED:
                            raise TritonUnavailable("the decoder dropped the request")
                        if not (text.startswith(told) or (result is None and told.startswith(text))):
                            raise TritonUnavailable("a model was lost, and the next one hears otherwise")
                        if result is None and len(text) <= len(told):
                            continue
                        added, fresh = text[len(told) :], tokens[num_told:]
                        told, num_told = text, len(tokens)
                        timed = None if result is None else Timed(start, end, result["text"], tokens, segment=number)
                        if timed is not None and result is not None and self._is_asked_more(timed):
                            heard = timed, result
                        if self._rewriting is not None:
                            # What is told is not taken back.
                            continue
                        # Text does not wait for the times of its words, nor for who says it.
                        yield Piece(added, fresh) if heard else Piece(added, fresh, timed, result)
                if heard is not None:
                    timed, result = heard
                    if options.words and timed.text:
                        timed = await self._words.added(timed, segment, result["language"])
                    if self.speakers is not None:
                        timed = await self.speakers.added(number, timed, segment)
                        # Who comes next need not wait for this one's wording.
                        await self.speakers.done(number)
                    yield Piece("", (), timed, result)
                return
            except (TritonUnavailable, TritonRefused) as error:
                losses.add(error)
                if number == 0 and not told and isinstance(error, TritonRefused) and error.busy:
                    # Who is not admitted is told so at once.
                    raise
        raise losses.given_up(NO_TIME)

    def _is_asked_more(self, timed: Timed) -> bool:
        """Whether more is to be found out of a text."""
        is_asked = self._options.words or self.speakers is not None
        return self._rewriting is not None or (bool(timed.text) and is_asked)
