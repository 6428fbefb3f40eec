"""A baseline: the server design of fixed chunks. One worker transcribes windows of 450 ms with 150 ms of the one
before, each by itself, and joins what it hears."""

from __future__ import annotations

import asyncio
import time

import numpy as np
from numpy.typing import NDArray

from frontend.triton_client import TritonClient
from perf.conversations import RATE_HZ

Pcm = NDArray[np.float32]
CHUNK, OVERLAP = 7_200, 2_400


def windows(pcm: Pcm) -> list[Pcm]:
    """What the design transcribes of a stream."""
    return [pcm[max(0, start - OVERLAP) : start + CHUNK] for start in range(0, pcm.size, CHUNK)]


class FixedChunks:
    """The one worker, and the streams that wait for it in the order in which their chunks come."""

    def __init__(self, client: TritonClient) -> None:
        self._client = client
        self._worker = asyncio.Lock()

    async def live(self, pcm: Pcm, begun: float) -> list[float]:
        """A stream at the pace of speech from the monotonic time `begun`; seconds from a chunk's last sample to its
        text."""

        async def one(number: int, window: Pcm) -> float:
            arrives = begun + (number + 1) * CHUNK / RATE_HZ
            await asyncio.sleep(max(0.0, arrives - time.monotonic()))
            await self._hear(window)
            return time.monotonic() - arrives

        whole = windows(pcm[: pcm.size // CHUNK * CHUNK])
        return list(await asyncio.gather(*(one(*pair) for pair in enumerate(whole))))

    async def _hear(self, window: Pcm) -> str:
        async with self._worker:
            async for delta in self._client.transcribe(window, priority=1, parameters={"vad": "off"}):
                if delta.result is not None:
                    return str(delta.result["text"])
        raise RuntimeError("no answer")
