"""An hour's worth of speech through every entrance, faster than real time: does anything grow or stay behind?"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from perf.chaos.census import Census, Count, census
from perf.chaos.ledger import Entry, balance
from perf.chaos.stage import Stage
from perf.chaos.traffic import CHUNK, PACE, PATIENCE_S, RATE_HZ, Talk, Traffic, by_file, prepared

# Of what there is to hear: before the first count, which is of a server at work for a while. The frontend's memory has
# reached what it stays at after half an hour of speech.
WARM_UP_SHARE = 0.5
# How many of each speak at a time, and how many go away in the middle, without a word.
SOCKETS, REALTIME, FILES, VANISHING = 9, 4, 1, 2
# Each of the talks as so many files at the same time, before anything is counted.
BURST = 6
# Of what is heard: files are quick, and would be nearly all of it.
LIVE_SHARE = 0.6
# What may be more at the end, in each process: memory of allocators that do not give back at once, and of caches on
# their way to their bound; a descriptor of a connection that is just being closed.
MORE_MB, MORE_SHARE = 24.0, 0.10
MORE_DESCRIPTORS, MORE_THREADS, MORE_SEGMENTS = 8, 4, 4
# Nothing is under way any more within this time.
QUIET_WITHIN_S = 90.0


@dataclass
class Soak:
    """before, after: counted while nothing was under way. heard_s: seconds of speech that were sent between the two.
    peaks: the largest memory of each process on the way, MB."""

    before: Census
    after: Census
    heard_s: float
    seconds: float
    sessions: int
    vanished: int
    entries: list[Entry]
    peaks: dict[str, float] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def rows(self) -> list[dict[str, object]]:
        return [
            {
                "process": name,
                "MB": f"{before.memory_mb:.1f}",
                "MB then": f"{after.memory_mb:.1f}",
                "most MB": f"{self.peaks.get(name, 0.0):.1f}",
                "descriptors": before.descriptors,
                "then": after.descriptors,
                "threads": before.threads,
                "threads then": after.threads,
            }
            for name, before, after in self._pairs()
        ]

    def grown(self) -> list[str]:
        """What is not flat."""
        found = [f"{name} has ended or was started anew" for name in self.before.gone(self.after)]
        for name, before, after in self._pairs():
            more_mb = after.memory_mb - before.memory_mb
            if more_mb > max(MORE_MB, MORE_SHARE * before.memory_mb):
                found.append(f"{name}: {more_mb:.1f} MB more")
            if after.descriptors - before.descriptors > MORE_DESCRIPTORS:
                found.append(f"{name}: {after.descriptors - before.descriptors} descriptors more")
            if after.threads - before.threads > MORE_THREADS:
                found.append(f"{name}: {after.threads - before.threads} threads more")
        if self.after.segments - self.before.segments > MORE_SEGMENTS:
            found.append(f"{self.after.segments - self.before.segments} segments of shared memory more")
        return found

    @property
    def is_flat(self) -> bool:
        return not self.complaints

    def figures(self) -> dict[str, Any]:
        pairs = self._pairs()
        books = balance(self.entries)
        return {
            "chaos.soak_audio_s": self.heard_s,
            "chaos.soak_seconds": self.seconds,
            "chaos.soak_sessions": self.sessions,
            "chaos.soak_vanished": self.vanished,
            "chaos.soak_lost": books.lost,
            "chaos.soak_doubled": books.doubled,
            "chaos.soak_wrong": books.wrong,
            "chaos.soak_grown": len(self.grown()),
            "chaos.soak_memory_mb_before": sum(before.memory_mb for _, before, _ in pairs),
            "chaos.soak_memory_mb_more": sum(after.memory_mb - before.memory_mb for _, before, after in pairs),
            "chaos.soak_memory_mb_more_most": max(after.memory_mb - before.memory_mb for _, before, after in pairs),
            "chaos.soak_descriptors_more_most": max(
                after.descriptors - before.descriptors for _, before, after in pairs
            ),
            "chaos.soak_threads_more_most": max(after.threads - before.threads for _, before, after in pairs),
            "chaos.soak_segments_more": self.after.segments - self.before.segments,
        }

    def _pairs(self) -> list[tuple[str, Count, Count]]:
        return [
            (name, before, self.after.processes[name])
            for name, before in self.before.processes.items()
            if name in self.after.processes
        ]


async def soak(stage: Stage, audio_s: float, seed: int = 0) -> Soak:
    """audio_s: of speech that is sent after the warm-up, all entrances together."""
    talks = await prepared(stage.url, 6, seed)
    await _burst(stage, talks)
    warm = await _sessions(stage, talks, WARM_UP_SHARE * audio_s, f"{seed} warm")
    await _quiet(stage)
    before = census(stage)
    peaks = {name: count.memory_mb for name, count in before.processes.items()}
    began = time.monotonic()
    at_work = await _sessions(stage, talks, audio_s, str(seed), lambda: _peak(stage, peaks))
    seconds = time.monotonic() - began
    left = await _quiet(stage)
    after = census(stage)
    entries = [*warm.entries, *at_work.entries]
    found = Soak(before, after, at_work.heard_s, seconds, len(at_work.entries), at_work.vanished, entries, peaks)
    found.complaints = found.grown() + [f"{left} sessions were left"] * bool(left)
    books = balance(entries)
    if not books.is_clean:
        found.complaints += [f"lost {books.lost}, doubled {books.doubled}, wrong {books.wrong}", *books.errors[:20]]
    return found


async def _burst(stage: Stage, talks: list[Talk]) -> None:
    """Many files at once: whatever grows with the size of a batch has met the largest one."""
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        files = [talk.flac() for talk in talks]
        trials = [
            by_file(stage.url, talk, Entry("file", []), client, file)
            for talk, file in zip(talks * BURST, files * BURST, strict=True)
        ]
        # Some may be told to come again later, and do.
        await asyncio.gather(*trials)


@dataclass
class _Work:
    entries: list[Entry]
    heard_s: float
    vanished: int


async def _sessions(
    stage: Stage, talks: list[Talk], audio_s: float, seed: str, look: Callable[[], None] = lambda: None
) -> _Work:
    """Sockets, Realtime, files, and clients that vanish, until so much was said."""
    traffic = Traffic(stage.url, talks, sockets=SOCKETS, realtime=REALTIME, files=FILES, seed=seed)
    going, stop = _Going(stage, talks, seed), asyncio.Event()
    leaving = [asyncio.create_task(going.again(number, stop)) for number in range(VANISHING)]
    traffic.start()
    try:
        while True:
            await asyncio.sleep(1.0)
            look()
            done = [(entry.kind, traffic.seconds(entry)) for entry in traffic.entries if entry.heard]
            live_s = sum(seconds for kind, seconds in done if kind != "file")
            if live_s >= LIVE_SHARE * audio_s and sum(seconds for _, seconds in done) >= audio_s:
                break
    finally:
        stop.set()
        entries = await traffic.stop()
        await asyncio.gather(*leaving)
    return _Work(entries, sum(traffic.seconds(entry) for entry in entries) + going.said_s, going.count)


class _Going:
    """Clients that go away in the middle of what they say or send."""

    def __init__(self, stage: Stage, talks: list[Talk], seed: str) -> None:
        self._url = stage.url
        self._talks = talks
        self._seed = seed
        self.count = 0
        self.said_s = 0.0

    async def again(self, number: int, stop: asyncio.Event) -> None:
        rng = random.Random(f"{self._seed} going {number}")
        ways: tuple[Callable[[Talk, random.Random], Awaitable[None]], ...] = (self._socket, self._file)
        while not stop.is_set():
            with contextlib.suppress(OSError, WebSocketException, httpx.TransportError, TimeoutError):
                async with asyncio.timeout(60):
                    await rng.choice(ways)(rng.choice(self._talks), rng)
            self.count += 1
            await asyncio.sleep(rng.uniform(0.0, 0.5))

    async def _socket(self, talk: Talk, rng: random.Random) -> None:
        until = rng.randrange(CHUNK, talk.shorts.size)
        async with connect(self._url.replace("http", "ws", 1) + "/ws/transcribe", open_timeout=30) as socket:
            for start in range(0, until, CHUNK):
                await socket.send(talk.shorts[start : start + CHUNK].tobytes())
                self.said_s += CHUNK / RATE_HZ
                await asyncio.sleep(CHUNK / RATE_HZ / PACE / 2)
            # As a telephone that loses its network: no close frame.
            socket.transport.abort()

    async def _file(self, talk: Talk, rng: random.Random) -> None:
        form: dict[str, Any] = {
            "files": {"file": ("talk.flac", talk.flac())},
            "data": {"model": "whisper-1", "stream": "true"},
        }
        timeout = httpx.Timeout(30.0, read=rng.uniform(0.005, 0.1))
        async with httpx.AsyncClient(timeout=timeout) as client:
            await client.post(f"{self._url}/v1/audio/transcriptions", **form)


async def _quiet(stage: Stage) -> int:
    """Wait until nobody is served; returns how many still are after QUIET_WITHIN_S."""
    left = 0
    deadline = time.monotonic() + QUIET_WITHIN_S
    while time.monotonic() < deadline:
        health = await stage.health()
        left = int(health.get("live_sessions", 0)) + int(health.get("active", 0))
        if not left:
            # What is let go a moment later is gone as well.
            await asyncio.sleep(3.0)
            break
        await asyncio.sleep(0.5)
    return left


def _peak(stage: Stage, peaks: dict[str, float]) -> None:
    with contextlib.suppress(psutil.Error):
        for name, count in census(stage).processes.items():
            peaks[name] = max(peaks.get(name, 0.0), count.memory_mb)
