"""The other models by gRPC, as a client of the server that this model runs in.

Calls by gRPC carry priority and cancellation and stream, which calls inside of the server (BLS) do not, and they hold
many more streams at once.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2

from .channel import channel
from .losses import Losses
from .parameters import Parameters
from .processes import Processes
from .rooms import Floats, Heard, Question, TimedWord, Voiced
from .wire import NoAnswer, Wire

# Live speech goes first in every room.
PRIORITY = 1
NO_AUDIO = {"EMBEDDINGS": np.zeros((1, 0, 1), dtype=np.float32), "FRAMES": np.zeros((1, 1), dtype=np.int32)}


class TritonRooms:
    """Made and used on one event loop."""

    def __init__(
        self, url: str, models: Parameters, name: str, *, can_align: bool = False, has_voices: bool = False
    ) -> None:
        """url: of the server's gRPC. models: their names. name: unique among all who ask this server. can_align:
        whether there is an aligner; has_voices: whether a room tells speakers apart."""
        self._models = models
        self.can_align = can_align
        self.has_voices = has_voices
        self._channel = channel(url)
        self._wire = Wire(self._channel, name)
        losses = Losses(self._channel, self._wire, Processes())
        self._watching = asyncio.get_running_loop().create_task(losses.watch())

    async def close(self) -> None:
        self._watching.cancel()
        await self._wire.close()
        await self._channel.close()

    async def step(self, question: Question, *, fast: bool) -> Heard:
        request = _request(
            self._models.fast_step if fast else self._models.step,
            MEL=question.mel,
            FRAMES=question.frames,
            CLIP_MAX=np.full((len(question.mel), 1), question.clip_max, dtype=np.float32),
            LANGUAGE=question.language,
            CONTEXT=question.context,
            DRAFT_IDS=np.array(question.draft, dtype=np.int32),
        )
        # A hypothesis is used when it is whole: what comes before would be work for both sides.
        request.parameters["deltas"].bool_param = False
        if question.session:
            request.parameters["session"].string_param = question.session
            request.parameters["cached_blocks"].int64_param = question.cached_blocks
            request.parameters["keep_blocks"].int64_param = question.keep_blocks
        if question.hotwords:
            request.parameters["hotwords"].string_param = question.hotwords
        try:
            answer = await self._wire.ask(request, self._models.step_timeout_s)
        except (asyncio.CancelledError, NoAnswer) as error:
            # An ensemble does not tell its models that nobody waits any more. For each request to one that is dead
            # Triton takes a second.
            if not isinstance(error, NoAnswer) or self._decoder(fast) not in error.lost:
                self._wire.tell(_command(self._decoder(fast), {"cancel": request.id}))
            raise
        raw = dict(zip((tensor.name for tensor in answer.outputs), answer.raw_output_contents, strict=True))
        token_ids: list[int] = np.frombuffer(raw["TOKEN_IDS"], dtype="<i4").tolist()
        result = json.loads(_text(raw["RESULT"]))
        return Heard(result["text"], result["language"], token_ids, result["finish_reason"] == "evicted", result)

    async def check(self, language: str, context: str, hotwords: str = "") -> None:
        parameters = {"hotwords": hotwords} if hotwords else None
        command = _command(self._models.decoder, parameters, LANGUAGE=language, CONTEXT=context)
        await self._wire.ask(command, self._models.step_timeout_s)

    async def align(self, pcm: Floats, text: str, language: str, priority: int) -> list[TimedWord]:
        request = _request(self._models.aligner, PCM=pcm, TEXT=text, LANGUAGE=language)
        request.parameters["priority_level"].int64_param = priority
        request.parameters["vad"].string_param = "off"
        answer = await self._wire.ask(request, self._models.step_timeout_s)
        raw = dict(zip((tensor.name for tensor in answer.outputs), answer.raw_output_contents, strict=True))
        spans = np.frombuffer(raw["SPANS"], dtype="<i4").reshape(-1, 2).tolist()
        sure = np.frombuffer(raw["CONFIDENCE"], dtype="<f4").tolist()
        texts = _texts(raw["WRITTEN"])
        return [(word, first, last, one) for word, (first, last), one in zip(texts, spans, sure, strict=True)]

    async def voices(self, pcm: Floats, judged: Floats | None, state: bytes, priority: int) -> Voiced:
        request = _request(self._models.speakers, PCM=pcm, **({} if judged is None else {"SPEECH_PROB": judged}))
        request.parameters["priority_level"].int64_param = priority
        if state:
            _add(request, "STATE", "UINT8", [len(state)], state)
        answer = await self._wire.ask(request, self._models.step_timeout_s)
        raw = dict(zip((tensor.name for tensor in answer.outputs), answer.raw_output_contents, strict=True))
        turns = np.frombuffer(raw["TURNS"], dtype="<i4").reshape(-1, 2).tolist()
        numbers = list(dict.fromkeys(np.frombuffer(raw["TURN_OF_SPAN"], dtype="<i4").tolist()))
        speakers = dict(np.frombuffer(raw["SPEAKERS"], dtype="<i4").reshape(-1, 2).tolist())
        return Voiced(numbers, [(first, last) for first, last in turns], speakers, raw["STATE"])

    def end_session(self, name: str, *, fast: bool) -> None:
        self._wire.tell(_command(self._decoder(fast), {"end_session": name}))

    def _decoder(self, fast: bool) -> str:
        return self._models.fast_decoder if fast else self._models.decoder


def _command(model: str, parameters: dict[str, str] | None = None, **inputs: Any) -> Any:
    """A request to a decoder that has no audio."""
    request = _request(model, **NO_AUDIO, **inputs)
    request.outputs.add().name = "FINAL"
    for name, value in (parameters or {}).items():
        request.parameters[name].string_param = value
    return request


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


def _texts(raw: bytes) -> list[str]:
    """All strings of a tensor."""
    texts, place = [], 0
    while place < len(raw):
        start = place + 4
        place = start + int.from_bytes(raw[place:start], "little")
        texts.append(raw[start:place].decode())
    return texts


def _text(raw: bytes) -> str:
    """The one string of a tensor: its length, then itself."""
    return raw[4:].decode()
