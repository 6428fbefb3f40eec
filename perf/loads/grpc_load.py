"""Live streams to Triton's `asr_stream` itself, by gRPC, as the frontend opens them."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from frontend.triton.client import TritonClient, TritonRefused, TritonUnavailable, add_input, set_parameter
from perf.loads.hearing import PATIENCE_S, Hearing, Streams, Turn, speak
from perf.speech.conversations import RATE_HZ

FAILURES = (TritonRefused, TritonUnavailable, grpc.aio.AioRpcError, asyncio.TimeoutError)
_sequences = itertools.count(int.from_bytes(os.urandom(6), "little") + 1)


class GrpcStream:
    """A sequence of the model; all of them over the connection of one client. What fails is counted in `found`."""

    def __init__(self, client: TritonClient, found: Streams, chunk_ms: int) -> None:
        self._client = client
        self._found = found
        self._chunk = chunk_ms * RATE_HZ // 1_000
        self._hearing = Hearing(found)
        self._sequence = next(_sequences)
        self._requests: asyncio.Queue[Any] = asyncio.Queue()

    async def open(self) -> None:
        self._requests.put_nowait(self._request(None, start=True))

    async def run(self, turns: list[Turn], begin: float) -> None:
        def send(shorts: NDArray[np.int16]) -> None:
            self._requests.put_nowait(self._request(shorts))

        speaking = asyncio.create_task(speak(turns, self._chunk, begin, self._hearing, send))
        speaking.add_done_callback(lambda _: self._requests.put_nowait(self._request(None, end=True)))
        longest_s = max(turn.at_s + turn.shorts.size / RATE_HZ for turn in turns)
        try:
            await asyncio.wait_for(self._listen(), longest_s + PATIENCE_S)
        except FAILURES as error:
            self._found.errors.append(repr(error))
        finally:
            speaking.cancel()

    async def _listen(self) -> None:
        async def requests() -> AsyncIterator[Any]:
            while True:
                yield await self._requests.get()

        async for answer in self._client.live_stream(requests()):
            if answer.error_message:
                self._found.errors.append(answer.error_message)
                return
            for data in answer.infer_response.raw_output_contents:
                # One string, with its length in front.
                if len(data) > 4 and not self._hearing.heard(json.loads(data[4:])):
                    return

    def _request(self, shorts: NDArray[np.int16] | None, *, start: bool = False, end: bool = False) -> Any:
        request = service_pb2.ModelInferRequest(model_name="asr_stream")
        for name, value in (("sequence_id", self._sequence), ("sequence_start", start), ("sequence_end", end)):
            set_parameter(request, name, value)
        if shorts is not None:
            add_input(request, "PCM16", "INT16", [shorts.size], shorts.tobytes())
        return request
