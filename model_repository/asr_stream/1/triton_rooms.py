"""The other models by gRPC, as a client of the server that this model runs in.

Calls by gRPC carry priority and cancellation and stream, which calls inside of the server (BLS) do not, and they hold
many more streams at once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

from .channel import channel
from .parameters import Parameters
from .rooms import Floats, Heard, Question, RoomFailed

# Live speech goes first in the decoder's waiting room.
PRIORITY = 1
INVALID = "INVALID_ARGUMENT: "
# Outputs that are one string; the bytes of tokens are for clients.
STRINGS = ("TEXT", "RESULT")
DTYPES: dict[str, Any] = {"FP32": "<f4", "INT32": "<i4", "BOOL": "?"}


class TritonRooms:
    """Made and used on one event loop."""

    def __init__(self, url: str, models: Parameters) -> None:
        """url: of the server's gRPC. models: their names."""
        self._models = models
        self._channel = channel(url)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    async def close(self) -> None:
        await self._channel.close()

    async def vad(self, pcm: Floats, state: Floats) -> tuple[Floats, Floats]:
        out = await self._infer(_request(self._models.vad, PCM=pcm, STATE=state))
        return out["SPEECH_PROB"], out["STATE"]

    async def features(self, pcm: Floats, left_context: int) -> tuple[Floats, NDArray[np.int32]]:
        request = _request(self._models.features, PCM=pcm, SPEECH=np.array([[0, pcm.size]], dtype=np.int32))
        request.parameters["left_context"].int64_param = left_context
        out = await self._infer(request)
        return out["MEL"], out["FRAMES"]

    async def encode(self, mel: Floats, frames: NDArray[np.int32], clip_max: Floats, *, fast: bool) -> Floats:
        model = self._models.fast_encoder if fast else self._models.encoder
        out = await self._infer(_request(model, MEL=mel, FRAMES=frames, CLIP_MAX=clip_max))
        return out["EMBEDDINGS"]

    async def decode(self, question: Question, *, fast: bool) -> Heard:
        request = _request(
            self._decoder(fast),
            EMBEDDINGS=question.embeddings,
            FRAMES=question.frames,
            LANGUAGE=question.language,
            CONTEXT=question.context,
            DRAFT_IDS=np.array(question.draft, dtype=np.int32),
        )
        # A hypothesis is used when it is whole: what comes before would be work for both sides.
        request.parameters["deltas"].bool_param = False
        for name in ("TOKEN_IDS", "FINAL", "RESULT"):
            request.outputs.add().name = name
        if question.session:
            request.parameters["session"].string_param = question.session
            request.parameters["cached_blocks"].int64_param = question.cached_blocks
            request.parameters["keep_blocks"].int64_param = question.keep_blocks
        token_ids: list[int] = []
        async for out in self._stream(request):
            token_ids += out["TOKEN_IDS"].tolist()
            if out["FINAL"][0]:
                result = json.loads(out["RESULT"][0])
                return Heard(
                    result["text"], result["language"], token_ids, result["finish_reason"] == "evicted", result
                )
        raise RoomFailed("the decoder ended its answer without a result")

    async def check(self, language: str, context: str) -> None:
        await self._command(self._models.decoder, LANGUAGE=language, CONTEXT=context)

    async def end_session(self, name: str, *, fast: bool) -> None:
        await self._command(self._decoder(fast), {"end_session": name})

    def _decoder(self, fast: bool) -> str:
        return self._models.fast_decoder if fast else self._models.decoder

    async def _command(self, model: str, parameters: dict[str, str] | None = None, **inputs: Any) -> None:
        """A request to a decoder that has no audio."""
        nothing = {"EMBEDDINGS": np.zeros((1, 0, 1), dtype=np.float32), "FRAMES": np.zeros((1, 1), dtype=np.int32)}
        request = _request(model, **nothing, **inputs)
        for name, value in (parameters or {}).items():
            request.parameters[name].string_param = value
        async for out in self._stream(request):
            if out["FINAL"][0]:
                return
        raise RoomFailed(f"{model} ended its answer without a result")

    async def _infer(self, request: Any) -> dict[str, Any]:
        try:
            return _outputs(await self._stub.ModelInfer(request, timeout=self._models.call_timeout_s))
        except grpc.aio.AioRpcError as error:
            raise _failed(request.model_name, error.details() or error.code().name) from error

    async def _stream(self, request: Any) -> AsyncIterator[dict[str, Any]]:
        """The answers of a decoupled model. Leaving early cancels the request."""
        answered = asyncio.Event()
        call = self._stub.ModelStreamInfer(_once(request, answered), timeout=self._models.decode_timeout_s)
        try:
            async for answer in call:
                if answer.error_message:
                    raise _failed(request.model_name, answer.error_message)
                out = _outputs(answer.infer_response)
                if out["FINAL"][0]:
                    # The stream ends by itself then; its cancellation would be an error in the server's log.
                    answered.set()
                yield out
        except grpc.aio.AioRpcError as error:
            raise _failed(request.model_name, error.details() or error.code().name) from error
        finally:
            if not answered.is_set():
                call.cancel()


async def _once(request: Any, answered: asyncio.Event) -> AsyncIterator[Any]:
    yield request
    await answered.wait()


def _failed(model: str, message: str) -> RoomFailed:
    _, invalid, rest = message.partition(INVALID)
    return RoomFailed(f"{model}: {rest if invalid else message}", invalid=bool(invalid))


def _request(model: str, **inputs: Any) -> Any:
    """A request at live priority; text that is empty and arrays without elements but for a shape are left out."""
    request = service_pb2.ModelInferRequest(model_name=model)
    request.parameters["priority_level"].int64_param = PRIORITY
    for name, value in inputs.items():
        if isinstance(value, str):
            if value:
                text = value.encode()
                _add(request, name, "BYTES", [1], len(text).to_bytes(4, "little") + text)
        elif value.ndim > 1 or value.size:
            datatype = "INT32" if value.dtype == np.int32 else "FP32"
            _add(request, name, datatype, list(value.shape), np.ascontiguousarray(value).tobytes())
    return request


def _add(request: Any, name: str, datatype: str, shape: list[int], data: bytes) -> None:
    tensor = request.inputs.add()
    tensor.name, tensor.datatype = name, datatype
    tensor.shape.extend(shape)
    request.raw_input_contents.append(data)


def _outputs(response: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for tensor, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        if tensor.name in STRINGS:
            # Its length, then itself.
            out[tensor.name] = [raw[4:].decode()]
        elif tensor.datatype in DTYPES:
            out[tensor.name] = np.frombuffer(raw, dtype=DTYPES[tensor.datatype]).reshape(tuple(tensor.shape))
    return out
