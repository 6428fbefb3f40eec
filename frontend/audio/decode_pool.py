"""Threads of their own for decoding uploads: a file that never ends to be decoded costs one of them, for a while."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
logger = logging.getLogger(__name__)

# Threads that were given up, and go on in some library. Beyond as many nothing new is begun until some come back.
MOST_LOST = 16
# Who has left is found out by the file that is read, and its thread goes on with the next one. What has not heard of it
# after so long is stuck.
LEAVE_S = 2.0
# The deadline is of processor time, which a machine that is overloaded or was stopped does not take from a good file.
# So many times as long it may take by the clock, and wait for a thread.
PATIENCE = 4
LOOK_S = 0.5
# How much nicer its threads are: the event loop of the same process carries live speech, and refuses what is too much.
NICENESS = 5


class DecodersBusy(Exception):
    """Too much waits to be decoded, or nothing goes on."""


class DecodeTimeout(Exception):
    """A part took too long, and was given up."""


@dataclass
class _Job:
    work: Callable[[], Any]
    done: asyncio.Future[Any]
    begun: asyncio.Event
    lost: bool = False
    settled: bool = False
    # The processor clock of its thread, and what that showed when it began.
    clock: int = 0
    cpu_s: float = 0.0


class DecodePool:
    """`run` calls functions in threads, in order; each has a deadline from when it begins."""

    def __init__(self, threads: int, part_s: float, most_waiting: int) -> None:
        """part_s: of one call; most_waiting: calls that may wait before nothing new is begun."""
        self._most = threads
        self._part_s = part_s
        self._most_waiting = most_waiting
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._threads = self._idle = 0
        self._closed = False
        # Threads that were given up and are not back.
        self.lost = 0

    @property
    def waiting(self) -> int:
        """Calls that have no thread yet."""
        return len(self._jobs)

    def check(self) -> None:
        """Raises DecodersBusy where nothing new may be begun."""
        if len(self._jobs) > self._most_waiting or self.lost >= MOST_LOST:
            raise DecodersBusy(f"{len(self._jobs)} parts of uploads wait to be decoded")

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Raises DecodeTimeout where it takes longer than a part may: its thread is
        replaced, and ends when `work` does. A caller that leaves takes a call that has not begun along; it should make
        one that has begun end soon, as its thread is replaced then."""
        loop = asyncio.get_running_loop()
        job = _Job(work, loop.create_future(), asyncio.Event())
        with self._changed:
            self._jobs.append(job)
            self._fill()
            self._changed.notify()
        try:
            result: T = await self._result(job)
            return result
        except asyncio.CancelledError:
            if not self._withdrawn(job):
                loop.call_later(LEAVE_S, self._give_up, job)
            raise
        except (DecodeTimeout, DecodersBusy):
            if not self._withdrawn(job):
                self._give_up(job)
            raise
        finally:
            job.done.cancel()

    async def _result(self, job: _Job) -> Any:
        try:
            await asyncio.wait_for(job.begun.wait(), PATIENCE * self._part_s)
        except asyncio.TimeoutError:
            raise DecodersBusy("no thread came free to decode the file") from None
        started = time.monotonic()
        while not (await asyncio.wait([job.done], timeout=min(LOOK_S, self._part_s)))[0]:
            if self._cpu_s(job) >= self._part_s:
                raise DecodeTimeout(f"a part of the file took longer than {self._part_s:g} s to decode")
            if time.monotonic() - started >= PATIENCE * self._part_s:
                raise DecodersBusy("decoding does not go on")
        return job.done.result()

    def _cpu_s(self, job: _Job) -> float:
        """Processor seconds of a call that is under way."""
        with self._changed:
            # A thread that has settled its call may be gone.
            return 0.0 if job.settled else time.clock_gettime(job.clock) - job.cpu_s

    def close(self) -> None:
        """Begin nothing more; threads end with what they do."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _withdrawn(self, job: _Job) -> bool:
        """Whether it had not begun, and never will."""
        with self._changed:
            if job not in self._jobs:
                return False
            self._jobs.remove(job)
            return True

    def _give_up(self, job: _Job) -> None:
        """Whoever asked has left, or lost patience, and the thread is stuck: another takes its place."""
        with self._changed:
            if job.settled or job.lost:
                return
            job.lost = True
            self._threads -= 1
            self.lost += 1
            if self.lost >= MOST_LOST:
                logger.error("%s threads are stuck in files that cannot be decoded", self.lost)
            self._fill()

    def _fill(self) -> None:
        """Enough threads for what waits. Holds the lock."""
        most = 0 if self._closed or self.lost >= MOST_LOST else self._most
        while self._threads < most and self._idle < len(self._jobs):
            self._threads += 1
            self._idle += 1
            threading.Thread(target=self._work, name="decoder", daemon=True).start()

    def _work(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while True:
            with self._changed:
                while not self._jobs and not self._closed:
                    self._changed.wait()
                self._idle -= 1
                if self._closed:
                    return
                job = self._jobs.popleft()
                job.clock = time.pthread_getcpuclockid(threading.get_ident())
                job.cpu_s = time.clock_gettime(job.clock)
            loop = job.done.get_loop()
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(job.begun.set)
            result, error = None, None
            try:
                result = job.work()
            except BaseException as raised:
                error = raised
            with self._changed:
                job.settled = True
                if job.lost:
                    # Its place was taken meanwhile.
                    self.lost -= 1
                    self._fill()
                    return
                self._idle += 1
            with contextlib.suppress(RuntimeError):
                # A loop that is closed waits for nothing.
                loop.call_soon_threadsafe(_settle, job.done, result, error)
            del job, result, error


def _settle(done: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
