"""Where a live stream's milliseconds go: processor time for a second of one stream, by process, while many streams
speak at their pace through the WebSocket and through gRPC."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from itertools import count as numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import connect

from perf.live.processes import used
from perf.live_client import LiveClient
from perf.speech.conversations import RATE_HZ, conversation

STREAMS = 32
# What clients send at a time; the first is the one that figures without a length are of.
CHUNKS_MS = (40, 20, 100)
WEBSOCKET, GRPC = "", "_grpc"
# Sessions have begun and are past their first words.
SETTLE_S = 4.0
Shorts = NDArray[np.int16]


def measure(url: str, grpc_url: str, pid: int, seconds: float, streams: int = STREAMS) -> dict[str, float]:
    """Figures live.cpu_ms_per_stream_s and live.busiest_thread_ms_per_stream_s, with _20ms and _100ms for other chunks
    and _grpc for clients of Triton itself, and by part live.cpu_ms_per_stream_s_NAME.

    url, grpc_url: of the frontend and of its Triton. pid: of the service, with all that it has started. seconds: of
    streams that are counted, each time.
    """
    figures: dict[str, float] = {"live.processor_streams": streams}
    ways = ((WEBSOCKET, url.replace("http", "ws", 1) + "/ws/transcribe", _websocket), (GRPC, grpc_url, _grpc))
    for way, address, stream in ways:
        for chunk_ms in CHUNKS_MS:
            end = way if chunk_ms == CHUNKS_MS[0] else f"{way}_{chunk_ms}ms"
            spent = asyncio.run(_spent(address, stream, pid, seconds, streams, chunk_ms))
            figures |= {f"live.{name}{end}": value for name, value in spent.items()}
    return figures


async def _spent(
    address: str,
    stream: Callable[[str, Shorts, int, float], Coroutine[Any, Any, None]],
    pid: int,
    seconds: float,
    streams: int,
    chunk_ms: int,
) -> dict[str, float]:
    """Milliseconds for a second of a stream, by name."""
    talks = [_talk(SETTLE_S + seconds + 1, seed) for seed in range(8)]
    chunk = chunk_ms * RATE_HZ // 1_000
    began = time.monotonic() + 0.5
    # Not all at the same moment of a chunk.
    running = [
        asyncio.create_task(stream(address, talks[number % len(talks)], chunk, began + number / streams))
        for number in range(streams)
    ]
    try:
        await asyncio.sleep(began + SETTLE_S - time.monotonic())
        started, before = time.monotonic(), await asyncio.to_thread(used, pid)
        await asyncio.sleep(seconds)
        spent, heard_s = (await asyncio.to_thread(used, pid)).since(before), streams * (time.monotonic() - started)
        await asyncio.wait_for(asyncio.gather(*running), 60)
    finally:
        for one in running:
            one.cancel()
    scale = 1_000 / heard_s
    figures = {
        "cpu_ms_per_stream_s": scale * sum(spent.parts.values()),
        "busiest_thread_ms_per_stream_s": scale * max(spent.alone_s.values()),
        "network_ms_per_stream_s": scale * spent.network_s,
    }
    figures |= {f"cpu_ms_per_stream_s_{part}": scale * value for part, value in spent.parts.items()}
    return figures | {f"alone_ms_per_stream_s_{part}": scale * value for part, value in spent.alone_s.items()}


async def _websocket(address: str, talk: Shorts, chunk: int, begin: float) -> None:
    async with connect(address, compression=None, max_size=None) as socket:

        async def listen() -> None:
            async for message in socket:
                event = json.loads(message)
                if event["type"] == "error":
                    raise RuntimeError(f"a stream failed: {event}")
                if event["type"] == "closed":
                    return

        listening = asyncio.create_task(listen())
        async for part in _at_pace(talk, chunk, begin):
            await socket.send(part.tobytes())
        await socket.send(json.dumps({"action": "end"}))
        await asyncio.wait_for(listening, 60)


async def _grpc(address: str, talk: Shorts, chunk: int, begin: float) -> None:
    async with LiveClient(address) as client:

        async def listen() -> None:
            async for event in client.events():
                if event["type"] == "error":
                    raise RuntimeError(f"a stream failed: {event}")

        listening = asyncio.create_task(listen())
        async for part in _at_pace(talk, chunk, begin):
            client.send(part)
        client.send(None, end=True)
        await asyncio.wait_for(listening, 60)


async def _at_pace(talk: Shorts, chunk: int, begin: float) -> AsyncIterator[Shorts]:
    for number, start in zip(numbers(1), range(0, talk.size, chunk), strict=False):
        await asyncio.sleep(max(0.0, begin + number * chunk / RATE_HZ - time.monotonic()))
        yield talk[start : start + chunk]


def _talk(seconds: float, seed: int) -> Shorts:
    pcm = conversation(max(2, int(seconds / 3)), 1_000 + seed).pcm
    pcm = np.tile(pcm, -(-int(seconds * RATE_HZ) // pcm.size))[: int(seconds * RATE_HZ)]
    return np.round(pcm * 32_767).astype("<i2")
