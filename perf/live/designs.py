"""Three designs of live transcription, as streams at the pace of speech and as clips heard as fast as they are
answered: `asr_stream`, each session fed again from its start for every text, and fixed chunks."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from frontend.triton.client import TritonClient, add_input, set_parameter
from perf.live.fixed_chunks import CHUNK as WINDOW
from perf.live.fixed_chunks import windows
from perf.live_client import LiveClient
from perf.speech.conversations import RATE_HZ

Pcm = NDArray[np.float32]
# What a client sends at a time, and how much new audio makes a text.
CHUNK, STEP = 1_600, 7_200
STEP_S = STEP / RATE_HZ
_sequences = itertools.count(int.from_bytes(os.urandom(6), "little") + 1)


class Design(Protocol):
    """One way to transcribe streams. Every failure is an exception."""

    name: str

    async def live(self, pcm: Pcm, begun: float) -> list[float]:
        """A stream at the pace of speech from the monotonic time `begun`: for each text, seconds from the arrival of
        the last sample that it is of."""

    async def fast(self, pcm: Pcm) -> None:
        """The same steps one after the other, each as soon as the one before is answered."""


class AsrStream:
    """Ours: a sequence of Triton's for each stream."""

    name = "asr_stream"

    def __init__(self, client: TritonClient, url: str) -> None:
        self._client = client
        self._url = url

    async def live(self, pcm: Pcm, begun: float) -> list[float]:
        arrived: list[float] = []
        latencies: list[float] = []
        async with LiveClient(self._url) as client:

            async def feed() -> None:
                await until(begun)
                client.send(None, partial_interval_ms=int(1_000 * STEP_S))
                for number, start in enumerate(range(0, pcm.size, CHUNK)):
                    await until(begun + (number + 1) * CHUNK / RATE_HZ)
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

    async def fast(self, pcm: Pcm) -> None:
        sequence = next(_sequences)
        heard = asyncio.Event()

        async def requests() -> AsyncIterator[Any]:
            for start in range(0, pcm.size, STEP):
                end = min(start + STEP, pcm.size)
                for first in range(start, end, CHUNK):
                    # The last one of a step is answered when all of it is heard.
                    hold = first + CHUNK < end
                    yield self._request(sequence, pcm[first : min(first + CHUNK, end)], hold=hold, start=not first)
                await asyncio.wait_for(heard.wait(), 60.0)
                heard.clear()
            yield self._request(sequence, None, end=True)

        async for answer in self._client.live_stream(requests()):
            if answer.error_message:
                raise RuntimeError(f"a stream failed: {answer.error_message}")
            if answer.infer_response.parameters["triton_final_response"].bool_param:
                heard.set()

    @staticmethod
    def _request(sequence: int, pcm: Pcm | None, *, hold: bool = True, start: bool = False, end: bool = False) -> Any:
        request = service_pb2.ModelInferRequest(model_name="asr_stream")
        parameters = {"sequence_id": sequence, "sequence_start": start, "sequence_end": end, "hold": hold}
        parameters["triton_enable_empty_final_response"] = not hold
        if start:
            parameters["partial_interval_ms"] = int(1_000 * STEP_S)
        for name, value in parameters.items():
            set_parameter(request, name, value)
        if pcm is not None:
            add_input(request, "PCM", "FP32", [pcm.size], pcm.astype("<f4").tobytes())
        return request


class FedAgain:
    """Every step transcribes the session from its start; steps coalesce as ours do."""

    name = "session fed again"

    def __init__(self, client: TritonClient) -> None:
        self._client = client

    async def live(self, pcm: Pcm, begun: float) -> list[float]:
        latencies: list[float] = []
        heard = 0
        while heard < pcm.size:
            await until(begun + heard / RATE_HZ + STEP_S)
            # What has come by now, in whole chunks.
            end = min(pcm.size, max(heard + CHUNK, int((time.monotonic() - begun) * RATE_HZ) // CHUNK * CHUNK))
            await _transcribe(self._client, pcm[:end])
            latencies.append(time.monotonic() - (begun + end / RATE_HZ))
            heard = end
        return latencies

    async def fast(self, pcm: Pcm) -> None:
        for start in range(0, pcm.size, STEP):
            await _transcribe(self._client, pcm[: start + STEP])


class FixedChunks:
    """One worker, and the streams that wait for it in the order in which their chunks come."""

    name = "fixed chunks"

    def __init__(self, client: TritonClient) -> None:
        self._client = client
        self._worker = asyncio.Lock()

    async def live(self, pcm: Pcm, begun: float) -> list[float]:
        async def one(number: int, window: Pcm) -> float:
            arrives = begun + (number + 1) * WINDOW / RATE_HZ
            await until(arrives)
            async with self._worker:
                await _transcribe(self._client, window)
            return time.monotonic() - arrives

        whole = windows(pcm[: pcm.size // WINDOW * WINDOW])
        return list(await asyncio.gather(*(one(*pair) for pair in enumerate(whole))))

    async def fast(self, pcm: Pcm) -> None:
        for window in windows(pcm):
            async with self._worker:
                await _transcribe(self._client, window)


async def _transcribe(client: TritonClient, pcm: Pcm) -> None:
    async for _ in client.transcribe(pcm, priority=1, parameters={"vad": "off"}):
        pass


async def until(moment: float) -> None:
    """Sleep until a monotonic time; not at all where it has passed."""
    await asyncio.sleep(max(0.0, moment - time.monotonic()))
