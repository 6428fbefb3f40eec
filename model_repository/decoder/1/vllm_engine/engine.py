"""Requests on their way through vLLM: who is handed over next, what its tokens make of a sequence, and its end.

Who waits, waits here, in our order and within our bounds: vLLM is given what it can run, and a few more, so that a
place that becomes free is taken in its next step.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import aclosing
from functools import partial

import torch
from torch import Tensor

from ..engine.acceptance import accept
from ..engine.arrivals import CANCEL_REMEMBERED_S, EngineStopped
from ..engine.engine import BROKEN, STOPPING, SWEEP_S
from ..engine.faults import MOST_IN_A_ROW
from ..engine.scheduler import LIVE, PRIORITIES
from ..engine.sequence import Sequence
from ..engine.stats import Figures, Progress
from ..engine.waiting_line import WaitingLine
from ..engine.waiting_room import WaitingRoom
from .answering import Answering, EngineLost, Tokens
from .kept import KeptEmbeddings, KeptRows
from .loop import LoopThread
from .prompts import Embedder, sampling_arguments

logger = logging.getLogger(__name__)

# So many more than it runs are handed over, as a share of those.
SPARE = 8
# vLLM's level of the one that has waited too long: before all others.
RISEN = 0


class VllmEngine:
    """Everything happens on the loop's thread; `submit` and the like may be called from any."""

    def __init__(
        self,
        loop: LoopThread,
        vllm: Answering,
        embedder: Embedder,
        end_ids: Collection[int],
        room: WaitingRoom,
        kept: KeptEmbeddings,
        max_running: int,
        aging_s: float,
    ) -> None:
        self.end_ids = frozenset(end_ids)
        self.room = room
        # Called by the loop's thread when vLLM is lost and everybody was told.
        self.on_broken: Callable[[], None] = lambda: None
        self._loop, self._vllm, self._embedder, self._kept = loop, vllm, embedder, kept
        self._places = max_running + max(1, max_running // SPARE)
        self._aging_s = aging_s
        self._waiting = WaitingLine()
        self._answering: dict[Sequence, asyncio.Task[None]] = {}
        # Whole audios of those that are here, with what their sessions kept.
        self._audio: dict[Sequence, Tensor] = {}
        self._risen: Sequence | None = None
        self._cancelled: dict[str, float] = {}
        self._stopping, self._reason = False, STOPPING
        self._faults = 0
        self._generated = 0
        # When vLLM gave tokens last, or began to be asked for some; seconds of the longest wait for them.
        self._last_sign = self._longest_wait = 0.0
        self._sweeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._loop.call(self._begin)

    def stop(self, timeout_s: float = 10.0) -> None:
        """What still runs is told that it failed, and vLLM's processes end."""
        self._loop.run(self._end_all(self._reason), timeout_s)
        self._vllm.close()
        self._loop.stop()

    def submit(self, sequence: Sequence) -> None:
        """Queue a sequence, without waiting. A draft is not looked at: it would change nothing.

        Raises ValueError where it has hotwords or is longer than vLLM takes, RoomFull where too many of its priority
        are here, EngineStopped where the engine is stopping.
        """
        if sequence.biasing is not None:
            raise ValueError("hotwords are not to be had of the engine vllm: serve a profile of ours for them")
        if sequence.max_tokens > self._vllm.max_tokens:
            raise ValueError(
                f"the request needs {sequence.max_tokens} tokens of KV cache; a sequence has {self._vllm.max_tokens}"
            )
        if self._stopping:
            raise EngineStopped(self._reason)
        self.room.enter(sequence.priority)
        if not self._loop.call(self._arrive, sequence):
            # It stopped just now.
            self.room.leave(sequence.priority)
            raise EngineStopped(self._reason)

    def cancel(self, request_id: str) -> None:
        """Drop the sequence of this request, now or as soon as it arrives."""
        self._loop.call(self._cancel, request_id)

    def end_session(self, name: str) -> None:
        """Forget what a session keeps."""
        self._loop.call(self._kept.end, name)

    def progress(self) -> Progress:
        """A step is what passes until vLLM gives the next tokens of anybody."""
        asked = bool(self._answering)
        return Progress(
            working=asked or len(self._waiting) > 0,
            step_s=time.monotonic() - self._last_sign if asked else 0.0,
            longest_step_s=self._longest_wait,
            files=sum(sequence.priority > LIVE for sequence in (*list(self._answering), *self._waiting)),
        )

    def figures(self) -> Figures:
        return Figures(
            counters={
                **self._vllm.counters(),
                "generated_tokens": self._generated,
                "evicted_sessions": self._kept.num_evicted,
                "refused_requests": self.room.num_refused,
            },
            running=Counter(sequence.priority for sequence in list(self._answering)),
            waiting=Counter(sequence.priority for sequence in self._waiting),
            # vLLM tells it with tokens: of whoever was the last one, it does not tell that its are free.
            kv_tokens=self._vllm.kv_tokens() if self._answering else 0,
            sessions=len(self._kept),
        )

    def _begin(self) -> None:
        self._sweeping = self._loop.loop.create_task(self._sweep())

    def _arrive(self, sequence: Sequence) -> None:
        sequence.draft, sequence.num_drafted = [], 0
        if self._stopping:
            self._fail(sequence, self._reason)
            return
        kept = self._kept.take(sequence)
        audio = sequence.prompt.audio
        self._audio[sequence] = audio if kept is None else torch.cat([kept, audio])
        if sequence.prompt.cached_rows and kept is None:
            # What the caller left out is not here: all blocks are asked for again.
            del self._audio[sequence]
            self._finish(sequence, "evicted")
        elif self._cancelled.pop(sequence.request_id, None) is not None:
            self._finish(sequence, "cancelled")
        else:
            self._waiting.add(sequence)
            self._hand_over()

    def _hand_over(self) -> None:
        while len(self._waiting) and len(self._answering) < self._places and not self._stopping:
            now = time.monotonic()
            sequence = self._next(now)
            self._waiting.remove(sequence)
            sequence.timings.started = now
            if not self._answering:
                self._last_sign = now
            task = self._answering[sequence] = self._loop.loop.create_task(self._answer(sequence))
            # Not by the task itself, of which nothing runs where it is cancelled before it began.
            task.add_done_callback(partial(self._freed, sequence))

    def _freed(self, sequence: Sequence, _: asyncio.Task[None]) -> None:
        del self._answering[sequence]
        self._hand_over()

    def _next(self, now: float) -> Sequence:
        """By priority, then age; of those that have waited too long, one at a time goes first."""
        if self._risen is None or self._risen not in self._answering:
            oldest = [self._waiting.oldest(priority) for priority in PRIORITIES if priority > LIVE]
            old = [one for one in oldest if one is not None and now - one.timings.arrived >= self._aging_s]
            self._risen = min(old, key=lambda one: one.number, default=None)
            if self._risen is not None:
                return self._risen
        return self._waiting.first(1)[0]

    async def _answer(self, sequence: Sequence) -> None:
        try:
            self._finish(sequence, await self._reason_of_end(sequence))
            self._faults = 0
        except EngineLost:
            await self._break()
        except Exception as error:
            logger.exception("a request failed in vLLM")
            self._fail(sequence, f"the decoder failed: {error}")
            self._faults += 1
            if self._faults >= MOST_IN_A_ROW:
                await self._break()

    async def _reason_of_end(self, sequence: Sequence) -> str:
        """Take a sequence's tokens until its answer ends; why it does."""
        rows = self._embedder.rows(sequence.prompt, self._audio[sequence])
        level = RISEN if sequence is self._risen else sequence.priority
        sampling = sampling_arguments(sequence.params, sorted(self.end_ids))
        async with aclosing(self._vllm.answer(str(sequence.number), rows, sampling, level)) as answers:
            async for tokens in answers:
                self._note_sign()
                sequence.timings.started = tokens.started or sequence.timings.started
                reason = self._take(sequence, tokens)
                if reason:
                    return reason
                if tokens.ended:
                    raise RuntimeError(f"vLLM ended the request: {tokens.ended}")
        raise RuntimeError("vLLM ended the request without a reason")

    def _take(self, sequence: Sequence, tokens: Tokens) -> str:
        for token, logprob in zip(tokens.ids, tokens.logprobs, strict=True):
            reason, count = accept(sequence, [token], [logprob], {}, self.end_ids)
            self._generated += count
            if reason:
                return reason
        sequence.show(len(sequence.unshown) - sequence.num_held)
        return ""

    def _note_sign(self) -> None:
        now = time.monotonic()
        self._longest_wait = max(self._longest_wait, now - self._last_sign)
        self._last_sign = now

    def _finish(self, sequence: Sequence, reason: str) -> None:
        if self._leave(sequence):
            sequence.conclude(reason)
            sequence.listener.on_finish(sequence)

    def _fail(self, sequence: Sequence, message: str) -> None:
        if self._leave(sequence):
            sequence.listener.on_error(message)

    def _leave(self, sequence: Sequence) -> bool:
        """Free a sequence's place in the room and keep what its session wants; False where that was done before."""
        if sequence.is_over:
            return False
        sequence.is_over = True
        self.room.leave(sequence.priority)
        audio, session = self._audio.pop(sequence, None), sequence.session
        if audio is not None and session is not None and session.keep_rows:
            rows = audio[: session.keep_rows].clone()
            self._kept.keep(session, KeptRows(sequence.prompt.before, rows, sequence.priority, time.monotonic()))
        return True

    def _drop(self, sequence: Sequence, reason: str) -> None:
        """End a sequence that is here, wherever it is."""
        if sequence in self._waiting:
            self._waiting.remove(sequence)
        self._finish(sequence, reason)
        if sequence in self._answering:
            # Which frees its place in vLLM, then ours.
            self._answering[sequence].cancel()

    def _cancel(self, request_id: str) -> None:
        for sequence in [*self._answering, *self._waiting]:
            if sequence.request_id == request_id and not sequence.is_over:
                self._drop(sequence, "cancelled")
                return
        self._cancelled[request_id] = time.monotonic()

    async def _sweep(self) -> None:
        """Take out whom nobody waits for and who has waited for too long, until the engine stops."""
        while not self._stopping:
            await asyncio.sleep(SWEEP_S)
            now = time.monotonic()
            for sequence in [*self._answering, *self._waiting]:
                if sequence.listener.is_cancelled() and not sequence.is_over:
                    self._drop(sequence, "cancelled")
            for sequence in self._waiting:
                message = self.room.refuse_late(sequence, now)
                if message is not None:
                    self._waiting.remove(sequence)
                    self._fail(sequence, message)
            self._cancelled = {name: when for name, when in self._cancelled.items() if when > now - CANCEL_REMEMBERED_S}
            self._kept.expire(now)
            if self._vllm.is_lost():
                await self._break()

    async def _break(self) -> None:
        """vLLM is lost for good: tell everybody, then whoever ends the process."""
        if not self._stopping:
            logger.error("vLLM's engine is lost")
            self._reason = BROKEN
            await self._end_all(BROKEN)
            self.on_broken()

    async def _end_all(self, reason: str) -> None:
        self._stopping = True
        for sequence in [*self._answering, *self._waiting]:
            self._fail(sequence, reason)
        tasks = [*self._answering.values(), *filter(None, [self._sweeping])]
        others = [task for task in tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        if others:
            # Of a process that is gone nothing comes any more.
            await asyncio.wait(others, timeout=1.0)
