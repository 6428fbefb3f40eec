"""What a live stream costs by three designs, in processor time of the server, measured in turns; and the most streams
at the pace of speech whose texts are in time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

from frontend.triton.client import TritonClient
from perf.live.designs import STEP_S, AsrStream, Design, FedAgain, FixedChunks, Pcm
from perf.loads.capacity import largest
from perf.loads.load import percentile_ms
from perf.planning import cost_model
from perf.speech.conversations import RATE_HZ, conversation

BOUND_MS = 500.0
# Sessions as long as the longest utterance for costs.
SESSION_S = 20.0
# Clients at a time for costs; ours also by these, which the cost model is fitted to.
AT_A_TIME = 4
LEVELS = (1, 4, 16)
# Where the search for the most streams begins, and the factor by which it goes on: wide where nothing is known.
FIRST, WIDE, NARROW = 32, 1.5, 1.2
ENDS = {"asr_stream": "", "session fed again": "_refeed", "fixed chunks": "_fixed_chunks"}


@dataclass
class Spent:
    """Audio that was heard, and the server's processor time for it, in seconds."""

    audio_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def share(self) -> float:
        """Cores that a stream at the pace of speech occupies."""
        return self.cpu_s / self.audio_s


@dataclass
class Run:
    """One of two runs, which are measured in turns."""

    spent: dict[tuple[str, int], Spent] = field(default_factory=dict)
    streams: int = 0
    p95_ms: float = 0.0

    def share(self, design: str, at_a_time: int = AT_A_TIME) -> float:
        return self.spent[design, at_a_time].share

    def foreseen(self) -> int:
        """Streams that the cost model expects `asr_stream` to hold, where every core takes its part of a run."""
        cores = os.cpu_count() or 1
        rounds = [(count, count * STEP_S * self.share("asr_stream", count) / cores) for count in LEVELS]
        return cost_model.capacity(*cost_model.fit(rounds), STEP_S, BOUND_MS / 1_000, most=8_192)


async def measure(url: str, pid: int, seconds: float, most: int, turns: int = 2) -> dict[str, float]:
    """Figures of two runs, `_0` and `_1`: live.cpu_ms of a second of a stream by `asr_stream`, _refeed and
    _fixed_chunks, live.cpu_vs_refeed and _vs_fixed_chunks (theirs over ours), live.streams_at_500ms of `asr_stream` and
    live.streams_foreseen; and once live.streams_at_500ms, of the first run, of _refeed and of _fixed_chunks.

    pid: of the server, whose children count with it; seconds: of the sessions at the pace of speech; turns: of each
    run.
    """
    long, short = ([_talk(length, seed) for seed in range(max(LEVELS))] for length in (SESSION_S, seconds))
    client = TritonClient(url)
    ours = AsrStream(client, url)
    others: list[Design] = [FedAgain(client), FixedChunks(client)]
    runs = [Run(), Run()]
    figures: dict[str, float] = {}
    try:
        await _streams(ours, short, 2)
        # Ours before and after each of the others: what the machine's other work does to its caches falls on all.
        turn: list[tuple[Design, int]] = [(ours, count) for count in LEVELS]
        for design in (*others, others[-1]):
            turn += [(design, AT_A_TIME), (ours, AT_A_TIME)]
        for run in runs * turns:
            for design, count in turn:
                await _spend(run, design, long[:count], pid)
        for run in runs:
            run.streams, run.p95_ms = await _most(ours, short, most, first=run.foreseen(), step=NARROW)
        for design in others:
            end = ENDS[design.name]
            count, p95_ms = await _most(design, short, most, first=FIRST, step=WIDE)
            figures |= {f"live.streams_at_500ms{end}": count, f"live.partial_ms_p95_at_limit{end}": p95_ms}
    finally:
        await client.close()
    figures |= {"live.streams_at_500ms": runs[0].streams, "live.partial_ms_p95_at_limit": runs[0].p95_ms}
    for number, run in enumerate(runs):
        mine = run.share(ours.name)
        for design in (ours, *others):
            figures[f"live.cpu_ms{ENDS[design.name]}_{number}"] = 1_000 * run.share(design.name)
        for design in others:
            figures[f"live.cpu_vs{ENDS[design.name]}_{number}"] = run.share(design.name) / mine
        figures |= {f"live.cpu_ms_x{count}_{number}": 1_000 * run.share(ours.name, count) for count in LEVELS}
        figures |= {f"live.streams_at_500ms_{number}": run.streams, f"live.streams_foreseen_{number}": run.foreseen()}
        figures[f"live.partial_ms_p95_at_limit_{number}"] = run.p95_ms
    return figures


async def _spend(run: Run, design: Design, clips: list[Pcm], pid: int) -> None:
    before = _cpu_s(pid)
    await asyncio.gather(*(design.fast(clip) for clip in clips))
    spent = run.spent.setdefault((design.name, len(clips)), Spent())
    spent.cpu_s += _cpu_s(pid) - before
    spent.audio_s += sum(clip.size for clip in clips) / RATE_HZ


def _cpu_s(pid: int) -> float:
    """Processor time of a process and its descendants so far. Unlike the clock's, it is not lengthened by what else a
    shared machine does."""
    server = psutil.Process(pid)
    total = 0.0
    for process in (server, *server.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


async def _most(design: Design, clips: list[Pcm], most: int, *, first: int, step: float) -> tuple[int, float]:
    """The most streams whose texts are in time at p95, and that p95 in milliseconds."""

    async def measured(count: int) -> dict[str, Any]:
        p95_ms = percentile_ms(await _streams(design, clips, count), 95)
        print(f"  {design.name}: {count} streams, p95 {p95_ms or float('nan'):.0f} ms", flush=True)
        return {"streams": count, "p95_ms": p95_ms}

    def good(row: dict[str, Any]) -> bool:
        return row["p95_ms"] is not None and row["p95_ms"] <= BOUND_MS

    best, rows = await largest(measured, good, most, first=max(1, first), step=step)
    return best, next((row["p95_ms"] for row in rows if row["streams"] == best), 0.0)


async def _streams(design: Design, clips: list[Pcm], count: int) -> list[float]:
    """Latencies of all texts of `count` streams at the pace of speech, begun at different moments of a step."""
    started = time.monotonic() + 0.5
    found = await asyncio.gather(
        *(design.live(clips[i % len(clips)], started + i / count * STEP_S) for i in range(count))
    )
    return [latency for latencies in found for latency in latencies]


def _talk(seconds: float, seed: int) -> Pcm:
    pcm = conversation(max(2, int(seconds / 3)), 1_000 + seed).pcm
    return np.tile(pcm, -(-int(seconds * RATE_HZ) // pcm.size))[: int(seconds * RATE_HZ)]
