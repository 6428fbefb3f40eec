"""Requests and answers of Triton's gRPC service: tensors and parameters in, a model's outputs out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Delta:
    """One answer of the model `asr`; `result` is what the last one brings. tokens: the bytes of each token, none where
    it is no text."""

    text: str
    token_ids: tuple[int, ...]
    tokens: tuple[bytes, ...]
    logprobs: tuple[float, ...]
    result: dict[str, Any] | None


def add_input(request: Any, name: str, datatype: str, shape: list[int], raw: bytes) -> None:
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    request.raw_input_contents.append(raw)


def bytes_element(text: str) -> bytes:
    encoded = text.encode("utf-8")
    return len(encoded).to_bytes(4, "little") + encoded


def set_parameter(request: Any, name: str, value: str | int | float | bool) -> None:
    parameter = request.parameters[name]
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, int):
        parameter.int64_param = value
    elif isinstance(value, float):
        parameter.double_param = value
    else:
        parameter.string_param = value


def delta_of(response: Any) -> Delta:
    raw = outputs_of(response)
    return Delta(
        text=raw["TEXT"][4:].decode("utf-8"),
        token_ids=tuple(np.frombuffer(raw["TOKEN_IDS"], dtype="<i4").tolist()),
        tokens=tuple(elements(raw["TOKENS"])),
        logprobs=tuple(np.frombuffer(raw["LOGPROBS"], dtype="<f4").tolist()),
        result=json.loads(raw["RESULT"][4:]) if raw["FINAL"] != b"\0" else None,
    )


def elements(raw: bytes) -> Iterator[bytes]:
    """Elements of a string tensor: each has its length in front."""
    place = 0
    while place < len(raw):
        start = place + 4
        place = start + int.from_bytes(raw[place:start], "little")
        yield raw[start:place]


def outputs_of(response: Any) -> dict[str, bytes]:
    """The tensors of an answer, by name, as bytes."""
    return {output.name: data for output, data in zip(response.outputs, response.raw_output_contents, strict=True)}
