"""How many live streams at once: partials in time, against feeding each session again from its start, and against
fixed chunks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frontend.triton_client import TritonClient
from perf.conversations import RATE_HZ, conversation
from perf.fixed_chunks import FixedChunks
from perf.live_client import LiveClient

Pcm = NDArray[np.float32]
CHUNK = 1_600
INTERVAL_S = 0.45
BOUND_S = 0.5
# Where the search begins.
FIRST = 16
Measured = Callable[[int], Awaitable[list[float]]]


async def measure(url: str, seconds: float, most: int) -> dict[str, float]:
    """live.streams_at_500ms of `asr_stream`, _refeed and _fixed_chunks."""
    clips = [_talk(seconds, seed) for seed in range(16)]

    async def ours(count: int) -> list[float]:
        started = time.monotonic() + 0.5
        return _flat(await asyncio.gather(*(_live(url, clips[i % 16], started, i / count) for i in range(count))))

    client = TritonClient(url)

    async def refeed(count: int) -> list[float]:
        started = time.monotonic() + 0.5
        return _flat(await asyncio.gather(*(_refed(client, clips[i % 16], started, i / count) for i in range(count))))

    worker = FixedChunks(client)

    async def chunked(count: int) -> list[float]:
        started = time.monotonic() + 0.5
        return _flat(
            await asyncio.gather(*(worker.live(clips[i % 16], started + i / count * INTERVAL_S) for i in range(count)))
        )

    try:
        await ours(2)
        mine, mine_ms = await _largest(ours, most, "asr_stream")
        fed_again, fed_again_ms = await _largest(refeed, most, "fed again")
        fixed, fixed_ms = await _largest(chunked, most, "fixed chunks")
    finally:
        await client.close()
    return {
        "live.streams_at_500ms": mine,
        "live.streams_at_500ms_refeed": fed_again,
        "live.streams_at_500ms_fixed_chunks": fixed,
        "live.streams_ratio": mine / max(1, fed_again),
        "live.partial_ms_p95_at_limit": mine_ms,
        "live.partial_ms_p95_at_limit_refeed": fed_again_ms,
        "live.partial_ms_p95_at_limit_fixed_chunks": fixed_ms,
    }


async def _largest(measured: Measured, most: int, name: str) -> tuple[int, float]:
    """The largest number of streams whose partials are in time at p95, to a tenth, and that p95 in milliseconds."""
    good, good_ms, bad, count = 0, 0.0, most + 1, min(FIRST, most)
    while bad - good > max(1, good // 10):
        latencies = await measured(count)
        p95 = sorted(latencies)[int(0.95 * (len(latencies) - 1))] if latencies else float("inf")
        print(f"  {name}: {count} streams, {len(latencies)} partials, p95 {1_000 * p95:.0f} ms", flush=True)
        if p95 < BOUND_S:
            good, good_ms = count, 1_000 * p95
        else:
            bad = count
        count = min(2 * count, most) if bad > most else (good + bad) // 2
        if good >= most:
            break
    return good, good_ms


async def _live(url: str, pcm: Pcm, started: float, phase: float) -> list[float]:
    """One stream in real time; seconds from the arrival of a partial's last sample to the partial."""
    arrived: list[float] = []
    latencies: list[float] = []
    async with LiveClient(url) as client:

        async def feed() -> None:
            await _until(started + phase * INTERVAL_S)
            client.send(None, partial_interval_ms=int(1_000 * INTERVAL_S))
            for number, start in enumerate(range(0, pcm.size, CHUNK)):
                await _until(started + phase * INTERVAL_S + (number + 1) * CHUNK / RATE_HZ)
                arrived.append(time.monotonic())
                client.send(pcm[start : start + CHUNK])
            client.send(None, end=True)

        feeding = asyncio.create_task(feed())
        async for event in client.events():
            if event["type"] == "partial":
                latencies.append(time.monotonic() - arrived[(event["end_sample"] - 1) // CHUNK])
            elif event["type"] == "error":
                raise RuntimeError(f"a stream failed: {event}")
        await feeding
    return latencies


async def _refed(client: TritonClient, pcm: Pcm, started: float, phase: float) -> list[float]:
    """The same stream, where every step transcribes the session from its start; steps coalesce here as well."""
    latencies: list[float] = []
    begun = started + phase * INTERVAL_S
    heard = 0
    while heard < pcm.size:
        await _until(begun + (heard / RATE_HZ) + INTERVAL_S)
        # What has come by now, in whole chunks.
        end = min(pcm.size, max(heard + CHUNK, int((time.monotonic() - begun) * RATE_HZ) // CHUNK * CHUNK))
        async for _ in client.transcribe(pcm[:end], priority=1, parameters={"vad": "off"}):
            pass
        latencies.append(time.monotonic() - (begun + end / RATE_HZ))
        heard = end
    return latencies


def _talk(seconds: float, seed: int) -> Pcm:
    pcm = conversation(max(2, int(seconds / 3)), 1_000 + seed).pcm
    return np.tile(pcm, -(-int(seconds * RATE_HZ) // pcm.size))[: int(seconds * RATE_HZ)]


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


def _flat(lists: list[list[Any]]) -> list[Any]:
    return [value for values in lists for value in values]
