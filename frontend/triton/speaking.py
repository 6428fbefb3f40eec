"""Who speaks in a stretch of a conversation: the model `speakers`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from frontend.triton.client import MAX_NAME, TritonClient
from frontend.triton.messages import add_input, set_parameter
from frontend.triton.profiles import SPEAKERS


@dataclass(frozen=True)
class Apart:
    """turns: [T, 2], samples of the stretch; turn_of_span: the number of the turn that each span is in; speakers: of
    the conversation's newest turns, by number; state: to ask with next."""

    turns: NDArray[np.int32]
    turn_of_span: list[int]
    speakers: dict[int, int]
    state: bytes


async def told_apart(
    client: TritonClient,
    pcm: NDArray[np.float32],
    *,
    spans: NDArray[np.int32] | None = None,
    probabilities: NDArray[np.float32] | None = None,
    state: bytes = b"",
    known: bool = False,
    spans_are_turns: bool = False,
    limits: dict[str, int] | None = None,
    priority: int = 2,
    request_id: str = "",
    timeout_s: float = 60.0,
) -> Apart:
    """pcm: float32 [samples], 16 kHz mono. spans: [N, 2], where something is said in it, or vad's probabilities of it.
    state: of the answer before, none at the beginning. known: it is somebody's reference. spans_are_turns: each of them
    is a turn of its own. limits: min_speakers and max_speakers, where they are given. Raises TritonRefused or
    TritonUnavailable."""
    request = service_pb2.ModelInferRequest(model_name=SPEAKERS, id=f"{request_id[:MAX_NAME]}.{secrets.token_hex(8)}")
    add_input(request, "PCM", "FP32", [pcm.size], np.ascontiguousarray(pcm, dtype="<f4").tobytes())
    if spans is not None:
        add_input(request, "SPANS", "INT32", [len(spans), 2], np.ascontiguousarray(spans, dtype="<i4").tobytes())
    elif probabilities is not None:
        raw = np.ascontiguousarray(probabilities, dtype="<f4").tobytes()
        add_input(request, "SPEECH_PROB", "FP32", [probabilities.size], raw)
    if state:
        add_input(request, "STATE", "UINT8", [len(state)], state)
    flags = {"known": known, "spans_are_turns": spans_are_turns}
    parameters = {
        "priority_level": priority,
        **{name: True for name, value in flags.items() if value},
        **(limits or {}),
    }
    for name, value in parameters.items():
        set_parameter(request, name, value)
    told = await client.outputs(request, timeout_s)
    speakers = np.frombuffer(told["SPEAKERS"], dtype="<i4").reshape(-1, 2).tolist()
    return Apart(
        np.frombuffer(told["TURNS"], dtype="<i4").reshape(-1, 2),
        np.frombuffer(told["TURN_OF_SPAN"], dtype="<i4").tolist(),
        dict(speakers),
        told["STATE"],
    )
