"""Clients that ask Triton's `asr` itself for long clips, by gRPC, each as soon as it has its answer."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from frontend.triton.client import TritonClient, TritonRefused, TritonUnavailable
from perf.loads.load import Load
from perf.speech.conversations import RATE_HZ, conversation

FAILURES = (TritonRefused, TritonUnavailable, grpc.aio.AioRpcError, asyncio.TimeoutError)
ANSWERED_WITHIN_S, AGAIN_S = 300.0, 0.1


async def clip_load(grpc_url: str, clip: NDArray[np.float32], clients: int, seconds: float, load: Load) -> None:
    """Keep `clients` requests under way for so many seconds; those that are begun are waited for. clip: float32
    [samples], 16 kHz."""
    client = TritonClient(grpc_url)
    started = time.monotonic()

    async def ask() -> None:
        while time.monotonic() - started < seconds:
            asked = time.monotonic()
            try:
                result = await asyncio.wait_for(_answer(client, clip), ANSWERED_WITHIN_S)
            except FAILURES as error:
                load.errors.append(str(error) or repr(error))
                await asyncio.sleep(AGAIN_S)
                continue
            if not result:
                load.errors.append("the answer ended without its result")
                continue
            load.latencies.append(time.monotonic() - asked)
            load.audio_seconds += clip.size / RATE_HZ

    try:
        await asyncio.gather(*(ask() for _ in range(clients)))
    finally:
        load.seconds += time.monotonic() - started
        await client.close()


async def _answer(client: TritonClient, clip: NDArray[np.float32]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    async for delta in client.transcribe(clip):
        result = delta.result or result
    return result


def long_clip(seconds: float) -> NDArray[np.float32]:
    """People who say digits, pause, and go on: float32 [samples], 16 kHz."""
    parts: list[NDArray[np.float32]] = []
    while sum(part.size for part in parts) < seconds * RATE_HZ:
        parts.append(conversation(12, 7_000 + len(parts)).pcm)
    return np.concatenate(parts)[: int(seconds * RATE_HZ)]
