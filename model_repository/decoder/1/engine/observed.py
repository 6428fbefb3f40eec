"""What other threads may read of an engine while it runs."""

from __future__ import annotations

import time
from collections import Counter

from ..network.runner import StepRunner
from .planner import Launched
from .scheduler import Scheduler
from .speculator import Speculator
from .stats import EngineStats, Figures, Progress
from .waiting_room import WaitingRoom


class Observed:
    """Its own thread writes what is here; nobody waits for it to read."""

    runner: StepRunner
    scheduler: Scheduler
    speculator: Speculator | None
    room: WaitingRoom

    def __init__(self) -> None:
        self.stats = EngineStats()
        # The step that is on its way while the next one is planned.
        self._launched: Launched | None = None
        # When the step that runs began (0: none runs), and seconds of the longest one so far.
        self._turn_began = self._longest_turn = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for anything, but for what has just arrived."""
        return not (self.scheduler.running or self.scheduler.waiting or self._launched)

    @property
    def network_cpu_seconds(self) -> float:
        """Processor time of the engine's thread, spent in the network and in the one that drafts: what else it spends
        is Python's."""
        drafting = self.speculator.cpu_seconds if self.speculator is not None else 0.0
        return self.runner.counters.cpu_seconds + drafting

    def figures(self) -> Figures:
        """What is published of it."""
        scheduler = self.scheduler
        return Figures(
            counters={
                **vars(self.stats),
                "network_cpu_seconds": self.network_cpu_seconds,
                "evicted_sessions": scheduler.sessions.num_evicted,
                "refused_requests": self.room.num_refused,
            },
            running=Counter(sequence.priority for sequence in list(scheduler.running)),
            waiting=Counter(sequence.priority for sequence in scheduler.waiting),
            kv_tokens=scheduler.extents.capacity - scheduler.extents.num_free,
            sessions=len(scheduler.sessions),
        )

    def progress(self) -> Progress:
        """How it gets on, by which one that stands still can be told from one that is slow."""
        began = self._turn_began
        return Progress(
            working=bool(began or not self.is_idle),
            step_s=time.monotonic() - began if began else 0.0,
            longest_step_s=self._longest_turn,
            files=self.scheduler.num_files,
        )
