"""Who runs next: admission by priority and age, preemption, and the tokens of the next step."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .kv_cache import ExtentAllocator
from .sequence import Sequence

PRIORITIES = (1, 2, 3)


@dataclass(frozen=True)
class SchedulerLimits:
    """max_running: sequences at a time; max_step_tokens: rows of one step; aging_s: a waiting sequence rises by one
    level each time it has waited this long, so that nothing starves."""

    max_running: int = 64
    max_step_tokens: int = 512
    aging_s: float = 10.0


@dataclass(frozen=True)
class Chunk:
    """The next `length` tokens of a sequence that is part of a step."""

    sequence: Sequence
    length: int


class Scheduler:
    """Keeps the waiting and the running; owned by the engine's thread alone."""

    def __init__(self, limits: SchedulerLimits, extents: ExtentAllocator) -> None:
        self.limits = limits
        self.extents = extents
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def schedule(self) -> list[Chunk]:
        """The next step: one token of everybody who decodes, and as much of the prompts as fits, urgent ones first."""
        self._admit()
        budget = self.limits.max_step_tokens
        chunks = [Chunk(sequence, 1) for sequence in self.running if sequence.num_pending == 1]
        budget -= len(chunks)
        prompts = [sequence for sequence in self.running if sequence.num_pending > 1]
        now = time.monotonic()
        for sequence in sorted(prompts, key=lambda s: (self._level(s, now), s.number)):
            if budget <= 0:
                break
            length = min(sequence.num_pending, budget)
            chunks.append(Chunk(sequence, length))
            budget -= length
        return chunks

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence, wherever it is, and free what it holds."""
        if sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        self._release(sequence)

    def _admit(self) -> None:
        while self.waiting:
            now = time.monotonic()
            best = min(self.waiting, key=lambda s: (self._level(s, now), s.number))
            if not self._make_room(best, now):
                return
            self.waiting.remove(best)
            self.running.append(best)
            best.timings.started = best.timings.started or now

    def _level(self, sequence: Sequence, now: float) -> int:
        """The priority, less what age has gained: what has waited long is neither passed over nor preempted."""
        return sequence.priority - int((now - sequence.timings.arrived) / self.limits.aging_s)

    def _make_room(self, sequence: Sequence, now: float) -> bool:
        """Give the sequence an extent, taking slots from less urgent ones where that helps."""
        while True:
            if len(self.running) < self.limits.max_running:
                sequence.extent = self.extents.allocate(sequence.max_tokens)
                if sequence.extent is not None:
                    return True
            level = self._level(sequence, now)
            victims = [other for other in self.running if self._level(other, now) > level]
            gained = self.extents.num_free + sum(victim.max_tokens for victim in victims)
            if not victims or gained < sequence.max_tokens:
                return False
            # The least urgent, and of those the one that has done least: it loses least.
            self._preempt(max(victims, key=lambda s: (self._level(s, now), -s.num_computed)))

    def _preempt(self, victim: Sequence) -> None:
        """Back to the waiting room; its tokens are kept and computed again, so its answer does not change."""
        self.running.remove(victim)
        self._release(victim)
        self.waiting.append(victim)

    def _release(self, sequence: Sequence) -> None:
        if sequence.extent is not None:
            self.extents.release(sequence.extent)
            sequence.extent = None
        sequence.num_computed = 0
