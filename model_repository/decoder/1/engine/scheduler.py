"""Who runs next: admission by priority and age, preemption, and the tokens of the next step."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..network.kv_cache import KVCache
from .sequence import Sequence
from .sessions import Kept, SessionCache
from .step_pace import StepPace
from .waiting_line import WaitingLine

PRIORITIES = (1, 2, 3)
LIVE = 1
# Where a live sequence came within this time, more are expected.
LIVE_WINDOW_S = 30.0


@dataclass(frozen=True)
class SchedulerLimits:
    """max_running: sequences at a time; max_step_tokens: rows of one step; live_step_tokens: rows that prompts and
    drafts of less urgent sequences may add to a step in which a live one takes part; max_step_s: what
    those may make any step last, and live_step_s: while live ones come; live_alone_s: steps of live sequences leave the
    others out, until these have waited so long for one; aging_s: of those that have waited so long,
    one at a time goes first, so that nothing starves and yet no crowd of old files stands before live speech;
    session_idle_s: what an unused session keeps is forgotten after this.
    """

    max_running: int = 64
    max_step_tokens: int = 512
    live_step_tokens: int = 8
    max_step_s: float = 2.0
    live_step_s: float = 0.2
    live_alone_s: float = 0.0
    aging_s: float = 10.0
    session_idle_s: float = 60.0


@dataclass(frozen=True)
class Chunk:
    """The next `length` tokens of a sequence that is part of a step; they may reach into its draft."""

    sequence: Sequence
    length: int


class Scheduler:
    """Keeps the waiting and the running; owned by the engine's thread alone."""

    def __init__(self, limits: SchedulerLimits, cache: KVCache) -> None:
        self.limits = limits
        self.cache = cache
        self.extents = cache.extents
        self.sessions = SessionCache(cache.extents, limits.session_idle_s)
        # Sequences that wait for rows which are no longer kept: the engine tells their callers.
        self.evicted: list[Sequence] = []
        self.waiting = WaitingLine()
        self.running: list[Sequence] = []
        # The one of those that have waited too long whose turn it is.
        self._risen: Sequence | None = None
        self.pace = StepPace()
        self._last_live = -LIVE_WINDOW_S
        # When others than live sequences could last be part of a step.
        self._all_took_part = 0.0

    def add(self, sequence: Sequence) -> None:
        # Of a stream that goes on: a watcher's question every few seconds has nothing to draft from.
        if sequence.priority == LIVE and sequence.draft:
            self._last_live = time.monotonic()
        self.waiting.add(sequence)

    def schedule(self) -> list[Chunk]:
        """The next step: a token of all who decode, and as much of prompts and drafts as fits, urgent ones first."""
        self._admit()
        now = time.monotonic()
        # Whose last token is on its way has nothing more to compute.
        lengths: dict[Sequence, int] = {}
        longer = []
        taking_part = self._taking_part(now)
        for sequence in taking_part:
            if sequence.is_full:
                continue
            num_pending = sequence.num_pending
            if num_pending == 1:
                lengths[sequence] = 1
            if num_pending > 1 or sequence.draft:
                longer.append(sequence)
        budget = self.limits.max_step_tokens - len(lengths)
        is_turn = bool(self.limits.live_alone_s) and taking_part is self.running
        budget_of_others = min(budget, self._rows_beside_live(now, len(lengths), is_turn=is_turn))
        for sequence in sorted(longer, key=lambda s: (self._level(s), s.number)):
            # A draft is verified in the same pass as the end of the prompt.
            wanted = sequence.num_pending + len(sequence.draft) - lengths.get(sequence, 0)
            length = min(wanted, budget if sequence.priority == LIVE else budget_of_others)
            if length <= 0:
                continue
            lengths[sequence] = lengths.get(sequence, 0) + length
            budget -= length
            budget_of_others = min(budget, budget_of_others - (length if sequence.priority > LIVE else 0))
        return [Chunk(sequence, length) for sequence, length in lengths.items()]

    def _taking_part(self, now: float) -> list[Sequence]:
        """Whose tokens may be in the next step."""
        urgent = [sequence for sequence in self.running if self._level(sequence) <= LIVE]
        has_live = any(sequence.priority == LIVE and not sequence.is_full for sequence in urgent)
        if has_live and now - self._all_took_part < self.limits.live_alone_s:
            return urgent
        self._all_took_part = now
        return self.running

    def _rows_beside_live(self, now: float, num_decoding: int, *, is_turn: bool) -> int:
        """Rows of prompts and drafts that sequences which are not live may add to the next step. is_turn: they were
        left out of the steps before it."""
        if any(sequence.priority == LIVE for sequence in self.running):
            # A live sequence waits for this step: others put little into it, or a tenth of the time that they waited.
            rows = self.pace.rows_within(self.limits.live_alone_s / 10, self.limits.max_step_tokens) if is_turn else 0
            return max(self.limits.live_step_tokens, rows)
        # The next live sequence will wait for whatever step runs when it comes.
        expected = now - self._last_live <= LIVE_WINDOW_S
        seconds = self.limits.live_step_s if expected else self.limits.max_step_s
        rows = self.pace.rows_within(seconds, self.limits.max_step_tokens)
        return max(self.limits.live_step_tokens, rows - num_decoding)

    @property
    def num_files(self) -> int:
        """Sequences that are here and not of live sessions; any thread may ask."""
        return sum(sequence.priority > LIVE for sequence in (*self.running, *self.waiting))

    def retire(self, sequence: Sequence) -> None:
        """Take out a sequence that has its answer, and keep what its session will need again."""
        session = sequence.session
        if session is not None and sequence.extent is not None:
            kept = Kept(sequence.prompt.before, session.keep_rows, sequence.extent, sequence.priority, time.monotonic())
            if session.keep_rows and sequence.num_computed >= kept.num_tokens:
                sequence.extent = None
                self.sessions.keep(session.name, kept)
        self.remove(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence, wherever it is, and free what it holds."""
        sequence.is_over = True
        if sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        self._release(sequence)

    def _admit(self) -> None:
        now = time.monotonic()
        self.sessions.expire(now)
        self._raise_oldest(now)
        while self.waiting:
            candidates = self.waiting.first(1)
            if self._risen is not None and self._risen in self.waiting:
                # One that has risen takes the next place that is free; until then it stands in nobody's way.
                others = [sequence for sequence in self.waiting.first(2) if sequence is not self._risen]
                candidates = [self._risen, *others[:1]]
            if not any(self._settle(sequence, now) for sequence in candidates):
                return

    def _raise_oldest(self, now: float) -> None:
        if self._risen is not None and (self._risen in self.waiting or self._risen in self.running):
            return
        oldest = [self.waiting.oldest(priority) for priority in PRIORITIES if priority > LIVE]
        old = [s for s in oldest if s is not None and now - s.timings.arrived >= self.limits.aging_s]
        self._risen = min(old, key=lambda s: s.number, default=None)

    def _settle(self, sequence: Sequence, now: float) -> bool:
        """Let a waiting sequence run, or have its caller told that it cannot; False where it has to wait."""
        if sequence.prompt.cached_rows and sequence.extent is None and not self._has_cached(sequence):
            # What cannot be computed again, because the caller left it out, is asked for again.
            self.waiting.remove(sequence)
            self.evicted.append(sequence)
            return True
        if self._make_room(sequence):
            self.waiting.remove(sequence)
            self.running.append(sequence)
            sequence.timings.started = sequence.timings.started or now
            return True
        if self.running:
            return False
        # What its own session keeps stands in the way of the longer extent: it begins anew.
        assert sequence.session is not None
        self.sessions.end(sequence.session.name)
        return True

    def _level(self, sequence: Sequence) -> int:
        """The priority; before all of them, the one that has waited too long."""
        return 0 if sequence is self._risen else sequence.priority

    def _has_cached(self, sequence: Sequence) -> bool:
        return sequence.session is not None and self.sessions.has(sequence.session, sequence.prompt.before)

    def _make_room(self, sequence: Sequence) -> bool:
        """Give the sequence a place and an extent: from what is free, then from idle sessions, from sequences that were
        set aside, and at last from running ones that are less urgent.
        """
        # Whoever has risen is first in line, and yet takes the place of none that is more urgent by itself.
        level = sequence.priority
        # Where nothing runs, nothing will become free by waiting: then everything has to give way.
        floor = level if self.running else -(10**9)
        own = sequence.session.name if sequence.session is not None and sequence.prompt.cached_rows else None
        while True:
            has_place = len(self.running) < self.limits.max_running
            if has_place:
                if self._allocate(sequence):
                    return True
                if self.sessions.evict_one(floor, spared=own) or self._recall(sequence, floor):
                    continue
            victims = [other for other in self.running if self._level(other) > level]
            gained = self.extents.num_free + sum(victim.max_tokens for victim in victims)
            if not victims or (has_place and gained < sequence.max_tokens):
                return False
            # The least urgent, and of those the one that has done least: it loses least.
            victim = max(victims, key=lambda s: (self._level(s), -s.num_computed))
            self.running.remove(victim)
            self.waiting.add(victim)
            if has_place:
                self._release(victim)

    def _recall(self, sequence: Sequence, floor: int) -> bool:
        """Take the extent of a sequence that was set aside, less urgent than this one; it will be computed again."""
        aside = [s for s in self.waiting if s.extent is not None and s is not sequence and self._level(s) >= floor]
        if not aside:
            return False
        self._release(max(aside, key=lambda s: (self._level(s), -s.num_computed)))
        return True

    def _allocate(self, sequence: Sequence) -> bool:
        """An extent for the sequence, with what its session has kept at the start of it."""
        if sequence.extent is not None:
            # It was set aside for a more urgent one and goes on where it was.
            return True
        if sequence.session is None or not sequence.prompt.cached_rows:
            if sequence.session is not None:
                # All rows were sent again: what was kept of an earlier state is void.
                self.sessions.end(sequence.session.name)
            sequence.extent = self.extents.allocate(sequence.max_tokens)
            return sequence.extent is not None
        kept = self.sessions.take(sequence.session.name)
        assert kept is not None
        sequence.extent = self.extents.grow(kept.extent, sequence.max_tokens)
        if sequence.extent is None:
            sequence.extent = self.extents.allocate(sequence.max_tokens)
            if sequence.extent is None:
                self.sessions.keep(sequence.session.name, kept)
                return False
            self.cache.copy(kept.extent.start, sequence.extent.start, sequence.prompt.num_cached)
            self.extents.release(kept.extent)
        sequence.num_computed = sequence.prompt.num_cached
        return True

    def _release(self, sequence: Sequence) -> None:
        """Free a sequence's extent; its tokens are kept and would be computed again, so its answer does not change."""
        if sequence.extent is not None:
            self.extents.release(sequence.extent)
            sequence.extent = None
        sequence.num_computed = sequence.draft_computed = 0
