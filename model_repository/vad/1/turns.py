"""Work of many requests in short runs: what is live at once, the rest by priority, and what is long in turns.

Triton hands requests over in the order they came, and a model that answers inside of `execute` makes everybody wait for
the longest of them. Here `execute` only adds a job and returns; a few threads make the runs and answer. Some of them
are for live jobs, so that live speech waits for no file, and the others have what the machine's other threads leave, so
that files do not take the cores from the live path either: a live job is not for them. All rooms that compute for both
have this file, by links.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

logger = logging.getLogger(__name__)

LIVE, INTERACTIVE, BULK = PRIORITIES = (1, 2, 3)


class Job(Protocol):
    """A request's work, which takes one run or several. It answers its request itself, in the last run or in `fail`."""

    @property
    def priority(self) -> int:
        """Of `PRIORITIES`."""

    @property
    def num_bytes(self) -> int:
        """Of memory, while it waits."""

    def is_cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""

    def fail(self, message: str) -> None:
        """Answer with an error; the room is what failed, not the request."""


J = TypeVar("J", bound=Job)


class RoomFull(Exception):
    """More waits already than the room keeps; the message is for the client."""


@dataclass
class Counts:
    """By priority, since the start.

    queue_s: from a job's arrival to its first run. runs, turns (the jobs in them) and compute_s (their time): a run
    that jobs share is the first one's. failures: jobs that a run raised for.
    """

    requests: dict[int, int] = field(default_factory=lambda: dict.fromkeys(PRIORITIES, 0))
    queue_s: dict[int, float] = field(default_factory=lambda: dict.fromkeys(PRIORITIES, 0.0))
    turns: dict[int, int] = field(default_factory=lambda: dict.fromkeys(PRIORITIES, 0))
    runs: dict[int, int] = field(default_factory=lambda: dict.fromkeys(PRIORITIES, 0))
    failures: dict[int, int] = field(default_factory=lambda: dict.fromkeys(PRIORITIES, 0))
    compute_s: dict[int, float] = field(default_factory=lambda: dict.fromkeys(PRIORITIES, 0.0))
    waiting: int = 0


def usable_cores() -> int:
    """Of the machine, those that this process may run on."""
    return len(os.sched_getaffinity(0))


def checked_priority(parameters: dict[str, Any]) -> int:
    """A request's parameter `priority_level`, 2 where it is left out; ValueError where it is none of 1, 2, 3."""
    priority = parameters.get("priority_level", INTERACTIVE)
    if str(priority) not in {str(known) for known in PRIORITIES}:
        raise ValueError(f"priority_level must be one of {PRIORITIES}, not {str(priority)[:40]!r}")
    return int(priority)


@dataclass
class _Place(Generic[J]):
    """Where a job waits: lower is sooner."""

    job: J
    turn: int
    arrived: float
    began: bool = False

    def key(self) -> tuple[int, int]:
        return self.job.priority, self.turn


def _is_live(place: _Place[J]) -> bool:
    return place.job.priority == LIVE


class Turns(Generic[J]):
    """Threads that run jobs. `close` ends them."""

    def __init__(
        self,
        run: Callable[[list[J]], Iterable[J]],
        *,
        num_threads: int,
        max_waiting_bytes: int,
        choose: Callable[[Sequence[J]], list[J]] = lambda waiting: [waiting[0]],
    ) -> None:
        """run: one short run of jobs; returns those that need another one, and has answered the others. It is called on
        several threads at once; where it raises, it is called again for each job alone, and one that it raises for then
        is answered with the error. choose: which of those that wait, in their order, go into the next run together, the
        first one among them. num_threads: for files; there is one more for what is live."""
        self._run = run
        self._choose = choose
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: list[_Place[J]] = []
        self._num_bytes = 0
        self._turns = itertools.count()
        self._closing = False
        self._deadline = 0.0
        self._lock = threading.Lock()
        # By whether a thread works for what is live.
        self._wake = {live: threading.Condition(self._lock) for live in (True, False)}
        self.counts = Counts()
        self._threads = [
            threading.Thread(target=self._work, args=(live,), name=f"{name}-{index}", daemon=True)
            for live, name, count in ((True, "live", num_threads + 1), (False, "files", num_threads))
            for index in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def add(self, job: J) -> None:
        """Returns at once. Raises RoomFull where too much waits already; never for a live job or where nothing does."""
        with self._lock:
            if self._closing:
                raise RoomFull("the room is being closed")
            if job.priority != LIVE and self._waiting and self._num_bytes + job.num_bytes > self._max_waiting_bytes:
                raise RoomFull(f"{self._num_bytes / 2**20:.0f} MB of sound wait already: try again later")
            self._num_bytes += job.num_bytes
            self.counts.requests[job.priority] += 1
            self._insert(_Place(job, next(self._turns), time.monotonic()))

    def close(self, timeout_s: float) -> None:
        """Finish what is here, and answer with an error what is not finished by then."""
        with self._lock:
            self._closing = True
            self._deadline = time.monotonic() + timeout_s
            for threads in self._wake.values():
                threads.notify_all()
        for thread in self._threads:
            # A run is short; one that hangs is left to the process's end.
            thread.join(max(0.1, self._deadline + 1.0 - time.monotonic()))
        with self._lock:
            left, self._waiting = self._waiting, []
        for place in left:
            place.job.fail("the room is being closed")

    def _insert(self, place: _Place[J]) -> None:
        bisect.insort(self._waiting, place, key=_Place.key)
        self.counts.waiting = len(self._waiting)
        self._wake[_is_live(place)].notify()

    def _work(self, live: bool) -> None:
        """live: whether this thread works for what is live, or for files."""
        if not live:
            with contextlib.suppress(OSError):
                # Whoever else wants the core has it at once. Merely nicer threads are waited for: beside eight clients
                # with files a stream's partials took 35 ms so, and take 32.
                os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))
        while True:
            with self._lock:
                while not (waiting := [place for place in self._waiting if _is_live(place) == live]):
                    if self._closing:
                        return
                    self._wake[live].wait()
                if self._closing and time.monotonic() > self._deadline:
                    return
                places = self._take(waiting)
            unfinished = self._run_once(places)
            with self._lock:
                for place in places:
                    if any(place.job is job for job in unfinished):
                        # Behind those of its priority that have come meanwhile.
                        place.turn, place.began = next(self._turns), True
                        self._insert(place)
                    else:
                        self._num_bytes -= place.job.num_bytes

    def _take(self, waiting: list[_Place[J]]) -> list[_Place[J]]:
        """What goes into the next run of those that wait for it; nobody else has it meanwhile."""
        jobs = self._choose([place.job for place in waiting])
        places = [place for place in waiting if any(place.job is job for job in jobs)]
        self._waiting = [place for place in self._waiting if place not in places]
        now = time.monotonic()
        for place in places:
            if not place.began:
                self.counts.queue_s[place.job.priority] += now - place.arrived
        self.counts.waiting = len(self._waiting)
        return places

    def _run_once(self, places: list[_Place[J]]) -> list[J]:
        """The jobs that need another run; whatever happens, the others are answered."""
        wanted = [place.job for place in places if not (place.began and place.job.is_cancelled())]
        for place in places:
            if place.job not in wanted:
                place.job.fail("the request was cancelled")
        if not wanted:
            return []
        started = time.monotonic()
        try:
            return self._run_jobs(wanted)
        finally:
            with self._lock:
                first = wanted[0].priority
                self.counts.turns[first] += len(wanted)
                self.counts.runs[first] += 1
                self.counts.compute_s[first] += time.monotonic() - started

    def _run_jobs(self, jobs: list[J]) -> list[J]:
        try:
            return list(self._run(jobs))
        except Exception as error:
            logger.exception("a run of %s jobs failed", len(jobs))
            if len(jobs) > 1:
                return [unfinished for job in jobs for unfinished in self._run_jobs([job])]
            jobs[0].fail(str(error))
            with self._lock:
                self.counts.failures[jobs[0].priority] += 1
            return []
