"""The loop: take in requests, run a step over all of them, hand out tokens."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping

import torch

from ..network.kv_cache import KVCache
from ..network.qwen3 import Qwen3
from ..network.runner import StepRunner
from .acceptance import Scores, accept
from .arrivals import Arrivals, EngineStopped
from .faults import Faults
from .observed import Observed
from .planner import Launched, plan
from .scheduler import Chunk, Scheduler, SchedulerLimits
from .sequence import Sequence
from .speculator import Speculator
from .waiting_room import WaitingRoom

logger = logging.getLogger(__name__)

# How often those that wait, thousands perhaps, are asked whether they still want to.
SWEEP_S = 0.1
STOPPING = "the decoder is stopping"
BROKEN = "the decoder is not ready: it cannot compute any more and is started again"


class Engine(Observed):
    """Continuous batching over one network: sequences join and leave between steps.

    `submit` may be called from any thread. Listeners are told from the engine's own thread.
    """

    def __init__(
        self,
        network: Qwen3,
        cache: KVCache,
        limits: SchedulerLimits,
        end_ids: Collection[int],
        room: WaitingRoom | None = None,
        runner: StepRunner | None = None,
        speculator: Speculator | None = None,
        *,
        look_ahead: bool = False,
    ) -> None:
        """room: bounds who waits, and nobody where it is left out; runner: runs the steps, one by one where it is left
        out; speculator: drafts for those sequences that bring audio for it; look_ahead: plan and launch a step while
        the one before still runs, where each sequence adds one token to that."""
        super().__init__()
        self.network = network
        most_rows = max(limits.max_step_tokens, limits.max_running)
        self.runner = runner or StepRunner(network, cache, most_rows, limits.max_running, frozenset(end_ids))
        self.speculator = speculator
        self._look_ahead = look_ahead and speculator is None
        self._landed = 0.0
        self.cache = cache
        self.scheduler = Scheduler(limits, cache)
        self.end_ids = frozenset(end_ids)
        self._next_sweep = 0.0
        self._arrivals = Arrivals()
        self.room = room or WaitingRoom({}, {}, limits.max_running)
        self._stopping, self._reason = False, STOPPING
        # Called by the engine's thread when nothing can be computed any more and everybody was told.
        self.on_broken: Callable[[], None] = lambda: None
        self._faults = Faults(network.embedding)
        self._thread = threading.Thread(target=self._loop, name="decoder-engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the loop; what is still running is told that it failed."""
        self._stopping = True
        self._arrivals.wake()
        self._thread.join(timeout_s)

    def submit(self, sequence: Sequence) -> None:
        """Queue a sequence, without waiting.

        Raises ValueError where it could never fit into the KV cache, RoomFull where too many of its priority are here,
        EngineStopped where the engine is stopping.
        """
        if sequence.max_tokens > self.cache.extents.capacity:
            raise ValueError(
                f"the request needs {sequence.max_tokens} tokens of KV cache; there are {self.cache.extents.capacity}"
            )
        if self._stopping:
            raise EngineStopped(self._reason)
        self.room.enter(sequence.priority)
        try:
            self._arrivals.put(sequence)
        except EngineStopped:
            # It stopped just now.
            self.room.leave(sequence.priority)
            raise

    def cancel(self, request_id: str) -> None:
        """Drop the sequence of this request at the next step, or as soon as it arrives."""
        self._arrivals.cancel(request_id)

    def end_session(self, name: str) -> None:
        """Forget what a session keeps."""
        self._arrivals.call(lambda: self.scheduler.sessions.end(name))

    def _loop(self) -> None:
        if self.network.device.type == "cuda":
            # A thread begins on the first GPU: graphs would be recorded there, whatever the network's is.
            torch.cuda.set_device(self.network.device)
        with torch.inference_mode():
            while not self._stopping:
                try:
                    self._turn()
                except Exception as error:
                    # Nobody may be left waiting, and nothing that may be inconsistent is gone on with.
                    logger.exception("the engine failed and begins anew")
                    self._fail_all(f"the decoder failed: {error}")
                    self._launched = None
                    self.cache.extents.reset()
                    self.scheduler = Scheduler(self.scheduler.limits, self.cache)
        # What was submitted while the last turn ran has not been seen by the scheduler.
        self._arrivals.close(self._reason, self.scheduler.add)
        self._fail_all(self._reason)
        if self._reason == BROKEN:
            self.on_broken()

    def _turn(self) -> None:
        # Waits only where there is nothing else to do.
        self._arrivals.take(self.scheduler.add, wait=self.is_idle)
        began = self._turn_began = time.monotonic()
        try:
            self._compute()
        finally:
            self._longest_turn = max(self._longest_turn, time.monotonic() - began)
            self._turn_began = 0.0

    def _compute(self) -> None:
        self._drop_unwanted()
        chunks = self.scheduler.schedule()
        self._answer_evicted()
        before, self._launched = self._launched, None
        launched = self._launch(chunks) if chunks else None
        if before is not None:
            self._land(before)
        if launched is None:
            return
        if self._look_ahead and launched.is_foreseeable:
            for part in launched.parts:
                part.sequence.ahead = part.first if part.count and not part.sequence.is_over else None
            self._launched = launched
            return
        self._land(launched)
        speculator = self.speculator
        if speculator is not None:
            self._guarded(lambda: speculator.propose(self.scheduler.running), [])

    def _launch(self, chunks: list[Chunk]) -> Launched | None:
        """Begin a step; None where it failed."""
        launched: list[Launched] = []

        def launch() -> None:
            started = time.monotonic()
            step, parts = plan(chunks)
            launched.append(Launched(self.runner.launch(step), parts, step.num_rows, started))

        self._guarded(launch, [chunk.sequence for chunk in chunks])
        return launched[0] if launched else None

    def _land(self, launched: Launched) -> None:
        """Wait for a step and hand its tokens out."""
        self._guarded(lambda: self._tell(launched), [part.sequence for part in launched.parts])

    def _guarded(self, work: Callable[[], object], sequences: list[Sequence]) -> None:
        """What fails here ends these sequences, and the engine where nothing can be computed any more."""
        try:
            work()
        except Exception as error:
            logger.exception("a step failed")
            # Some of them may have had their answer already.
            for sequence in sequences:
                if not sequence.is_over:
                    self._end(sequence)
                    sequence.listener.on_error(f"the decoder failed: {error}")
            if self._faults.are_for_good():
                self._stopping, self._reason = True, BROKEN

    def _fail_all(self, message: str) -> None:
        for sequence in [*self.scheduler.running, *self.scheduler.waiting, *self.scheduler.evicted]:
            self.room.leave(sequence.priority)
            sequence.listener.on_error(message)

    def _drop_unwanted(self) -> None:
        """Take out whom nobody waits for, and who has waited longer than its level allows."""
        now = time.monotonic()
        are_any_cancelled = self._arrivals.are_any_cancelled
        sweeps = now >= self._next_sweep
        waiting = [*self.scheduler.waiting] if sweeps or are_any_cancelled else []
        for sequence in [*self.scheduler.running, *waiting]:
            if self._arrivals.is_cancelled(sequence):
                self._finish(sequence, "cancelled")
        if not sweeps:
            return
        self._next_sweep = now + SWEEP_S
        for sequence in waiting:
            message = self.room.refuse_late(sequence, now) if sequence in self.scheduler.waiting else None
            if message is not None:
                self._end(sequence)
                sequence.listener.on_error(message)

    def _answer_evicted(self) -> None:
        """Ask the callers of sequences whose session is no longer kept to send all blocks again."""
        while self.scheduler.evicted:
            self._finish(self.scheduler.evicted.pop(), "evicted")

    def _tell(self, launched: Launched) -> None:
        tokens, logprobs = launched.flight.tokens()
        watched = launched.flight.watched()
        for part in launched.parts:
            if part.sequence.is_over:
                # It ended by the step before, when this one was on its way.
                continue
            part.sequence.ahead = None
            if part.count:
                rows = range(part.first, part.first + part.count)
                own = {place - part.first: watched[place] for place in rows if place in watched} if watched else {}
                self._accept_or_end(
                    part.sequence, tokens[rows.start : rows.stop], logprobs[rows.start : rows.stop], own
                )
        now = time.monotonic()
        seconds = now - max(launched.started, self._landed)
        self._landed = now
        self.scheduler.pace.observe(launched.num_rows, seconds)
        self.stats.steps += 1
        self.stats.step_seconds += seconds
        self.stats.computed_tokens += launched.num_rows
        self._faults.none()

    def _accept_or_end(
        self, sequence: Sequence, tokens: list[int], logprobs: list[float], watched: Mapping[int, Scores]
    ) -> None:
        """What goes wrong with one sequence's tokens ends that one; the others of the step have theirs."""
        try:
            self._accept(sequence, tokens, logprobs, watched)
        except Exception as error:
            logger.exception("the tokens of a request cannot be chosen")
            if not sequence.is_over:
                self._end(sequence)
                sequence.listener.on_error(f"the decoder failed: {error}")

    def _accept(
        self, sequence: Sequence, tokens: list[int], logprobs: list[float], watched: Mapping[int, Scores]
    ) -> None:
        reason, count = accept(sequence, tokens, logprobs, watched, self.end_ids)
        self.stats.generated_tokens += count
        if reason:
            self._finish(sequence, reason)
        else:
            sequence.show(len(sequence.unshown) - sequence.num_held)

    def _finish(self, sequence: Sequence, reason: str) -> None:
        self.stats.drafted_tokens += sequence.num_drafted
        self.stats.accepted_tokens += sequence.num_accepted
        sequence.conclude(reason)
        self.scheduler.retire(sequence)
        self.room.leave(sequence.priority)
        sequence.listener.on_finish(sequence)

    def _end(self, sequence: Sequence) -> None:
        self.scheduler.remove(sequence)
        self.room.leave(sequence.priority)
