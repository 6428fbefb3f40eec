"""The least that each model can be asked, to learn whether somebody answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import secrets
from collections.abc import AsyncIterator, Callable
from enum import Enum
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from frontend.triton.errors import BUSY, INVALID, LOST
from frontend.triton.messages import add_input, set_parameter

SAMPLE_RATE_HZ = 16_000
VAD_STATE = 320
# A short block is the least that the encoder computes.
FRAMES, MELS = 200, 128
PRIORITY = 1

# A step that takes so many times as long as the longest one so far will not end.
STALLED_TIMES = 10.0
# Those that are nothing but what they are made of.
ENSEMBLES = ("asr", "asr_step", "align")
# Those that compute nothing for their question: other requests do not keep them from an answer.
AT_ONCE = ("decoder", "asr_stream", "aligner", "speakers")
# Those whose every computation takes a moment: where others stand before a question, their number goes up.
SOON = ("vad", "features")


class Answer(Enum):
    """alive: it answered, be it that it is full. working: it did, and computes for others. stalled: it did, and has
    stopped computing for others. lost: its process or itself is gone. failed: an error that is none of these, and
    not the question's fault. silent: no answer in time."""

    ALIVE = "alive"
    WORKING = "working"
    STALLED = "stalled"
    LOST = "lost"
    FAILED = "failed"
    SILENT = "silent"


WELL = (Answer.ALIVE, Answer.WORKING)
# Of one that answers nothing to anybody.
STANDING = (Answer.STALLED, Answer.LOST, Answer.SILENT)
# Of one that may be so again when it is loaded again.
LASTING = (Answer.FAILED, Answer.STALLED, Answer.SILENT)

# Takes a model's name, and what it says of itself.
Tell = Callable[[str, dict[str, Any]], None]


def kind_of(model: str) -> str:
    """The room that a model is: those of a small checkpoint have its code, and the encoder of an aligner has."""
    return model.removesuffix("_fast").removesuffix("_aligner")


async def probe(
    stub: Any, model: str, timeout_s: float, stall_s: float = math.inf, tell: Tell = lambda *_: None
) -> Answer:
    """Ask a model by itself, without a forward pass where it can answer without one: some milliseconds. stall_s: the
    least that a step of the decoder takes before it is called stalled. tell: called with what decoder and `asr_stream`
    say of themselves: the checkpoint, and how many sequences of files, and sessions, are under way in all."""
    request = service_pb2.ModelInferRequest(model_name=model)
    set_parameter(request, "priority_level", PRIORITY)
    kind = kind_of(model)
    if kind in ("vad", "features"):
        samples = 512 if kind == "vad" else SAMPLE_RATE_HZ // 2
        add_input(request, "PCM", "FP32", [samples], bytes(4 * samples))
        if kind == "vad":
            add_input(request, "STATE", "FP32", [VAD_STATE], bytes(4 * VAD_STATE))
        else:
            add_input(request, "SPEECH", "INT32", [1, 2], np.array([0, samples], dtype="<i4").tobytes())
        return await _unary(stub, request, timeout_s)
    if kind == "encoder":
        add_input(request, "MEL", "FP32", [1, MELS, FRAMES], bytes(4 * MELS * FRAMES))
        add_input(request, "FRAMES", "INT32", [1, 1], np.array([FRAMES], dtype="<i4").tobytes())
        add_input(request, "CLIP_MAX", "FP32", [1, 1], bytes(4))
        return await _unary(stub, request, timeout_s)
    if kind == "decoder":
        add_input(request, "EMBEDDINGS", "FP32", [1, 0, 1], b"")
        add_input(request, "FRAMES", "INT32", [1, 1], bytes(4))
        told: list[Answer] = []

        def is_final(response: Any) -> bool:
            engine = _engine(response)
            tell(model, engine)
            told[:] = [_progress(engine, stall_s)]
            return _is_final(response)

        answer = await _streamed(stub, [request], timeout_s, is_final)
        return told[0] if answer is Answer.ALIVE and told else answer
    if kind == "asr_stream":

        def is_closed(response: Any) -> bool:
            event = _event(response)
            if event.get("type") == "opened":
                tell(model, event)
            return event.get("type") == "closed"

        return await _streamed(stub, _session(model, b""), timeout_s, is_closed)
    if kind == "aligner":
        # No words, which have no times.
        add_input(request, "EMBEDDINGS", "FP32", [1, 0, 1], b"")
        add_input(request, "FRAMES", "INT32", [1, 1], bytes(4))
        add_input(request, "TEXT", "BYTES", [1], bytes(4))
        return await _unary(stub, request, timeout_s)
    if kind == "speakers":
        # Nothing is said in it.
        add_input(request, "PCM", "FP32", [1], bytes(4))
        add_input(request, "SPANS", "INT32", [0, 2], b"")
        return await _unary(stub, request, timeout_s)
    # An ensemble is nothing but what it is made of.
    return Answer.ALIVE


async def canary(stub: Any, model: str, timeout_s: float) -> Answer:
    """Send half a second of sound through `asr` or `asr_stream`, which is taken as speech whatever it is, so that every
    model on the way computes."""
    noise = (np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ // 2) * 300).astype("<i2")
    if kind_of(model) == "asr":
        request = service_pb2.ModelInferRequest(model_name=model, id=f"canary.{secrets.token_hex(8)}")
        add_input(request, "PCM", "FP32", [noise.size], (noise.astype("<f4") / 32_768).tobytes())
        for name, value in (("vad", "off"), ("priority_level", PRIORITY)):
            set_parameter(request, name, value)
        return await _streamed(stub, [request], timeout_s, _is_final)
    session = _session(model, noise.tobytes())
    return await _streamed(stub, session, timeout_s, lambda response: _event(response).get("type") == "closed")


def _session(model: str, pcm16: bytes) -> list[Any]:
    """The requests of a whole live session: its beginning with all of its samples, and its end."""
    sequence = secrets.randbits(62) + 1
    requests = []
    for start, end in ((True, False), (False, True)):
        request = service_pb2.ModelInferRequest(model_name=model)
        for name, value in (("sequence_id", sequence), ("sequence_start", start), ("sequence_end", end)):
            set_parameter(request, name, value)
        if start:
            set_parameter(request, "vad", "off")
            set_parameter(request, "canary", True)
        if start and pcm16:
            add_input(request, "PCM16", "INT16", [len(pcm16) // 2], pcm16)
        requests.append(request)
    return requests


async def _unary(stub: Any, request: Any, timeout_s: float) -> Answer:
    try:
        await stub.ModelInfer(request, timeout=timeout_s)
    except grpc.aio.AioRpcError as error:
        return _of(error)
    return Answer.ALIVE


async def _streamed(stub: Any, requests: list[Any], timeout_s: float, is_last: Any) -> Answer:
    answered = asyncio.Event()

    async def sent() -> AsyncIterator[Any]:
        for request in requests:
            yield request
        await answered.wait()

    call = stub.ModelStreamInfer(sent(), timeout=timeout_s)
    try:
        async for answer in call:
            if answer.error_message:
                return judged(answer.error_message)
            if is_last(answer.infer_response):
                return Answer.ALIVE
    except grpc.aio.AioRpcError as error:
        return _of(error)
    finally:
        answered.set()
        # What is answered ends by itself; its cancellation would be an error in Triton's log.
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(call.code(), 1.0)
        call.cancel()
    return Answer.LOST


def _of(error: grpc.aio.AioRpcError) -> Answer:
    if error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
        return Answer.SILENT
    return Answer.ALIVE if error.code() is grpc.StatusCode.INVALID_ARGUMENT else judged(error.details() or "")


def judged(message: str) -> Answer:
    """What an error says of the model. One that is not the question's fault may be all that it has for anybody: a GPU's
    error that stays, a shared memory that is full."""
    if any(sign in message for sign in BUSY) or INVALID in message:
        return Answer.ALIVE
    return Answer.LOST if any(sign in message for sign in LOST) else Answer.FAILED


def _engine(response: Any) -> dict[str, Any]:
    """What a decoder says of its engine beside an answer without audio."""
    result = json.loads(_outputs(response).get("RESULT", b"")[4:] or "{}")
    engine: dict[str, Any] = result.get("engine", {})
    return engine


def _progress(engine: dict[str, Any], stall_s: float) -> Answer:
    if not engine.get("working"):
        return Answer.ALIVE
    longest_s = max(stall_s, STALLED_TIMES * engine["longest_step_s"])
    return Answer.STALLED if engine["step_s"] > longest_s else Answer.WORKING


def _outputs(response: Any) -> dict[str, bytes]:
    return {output.name: raw for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)}


def _is_final(response: Any) -> bool:
    return _outputs(response).get("FINAL", b"\0") != b"\0"


def _event(response: Any) -> dict[str, Any]:
    told = _outputs(response).get("EVENT", b"")
    event: dict[str, Any] = json.loads(told[4:]) if told else {}
    return event
