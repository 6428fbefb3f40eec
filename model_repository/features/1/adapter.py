"""Triton adapter of the feature extractor: clips and parts of streams take turns, some seconds at a time."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .answers import Answer
from .blocks import blocks_in_parts, check, speech_of
from .clips import Clip, Parts, advance
from .parameters import Parameters
from .room import Room
from .turns import Turns, checked_priority, usable_cores


class Adapter(Room[Clip]):
    name = "features"

    def __init__(self, parameters: Parameters, args: dict[str, str]) -> None:
        """args: of the instance, as Triton gives them."""
        self.max_blocks = parameters.max_blocks
        turns: Turns[Clip] = Turns(
            advance,
            num_threads=parameters.threads or usable_cores(),
            max_waiting_bytes=parameters.max_waiting_mb * 2**20,
        )
        super().__init__(turns, args)

    def job(self, request: Any, answer: Answer) -> Clip:
        pcm = pb_utils.get_input_tensor_by_name(request, "PCM").as_numpy()
        spans = pb_utils.get_input_tensor_by_name(request, "SPEECH").as_numpy()
        speech = speech_of(pcm, spans.reshape(-1, 2))
        parameters = json.loads(request.parameters() or "{}")
        left_context = checked_left_context(parameters.get("left_context", 0))
        check(speech.size, self.max_blocks, left_context)
        priority = checked_priority(parameters)
        return Clip(self.name, _parts(speech, left_context), speech.nbytes, priority, answer)


def _parts(speech: Any, left_context: int) -> Parts:
    # Here, where nobody waits for it: that of a long clip takes a while.
    if not np.isfinite(speech).all():
        raise ValueError("PCM holds NaN or infinity")
    for blocks in blocks_in_parts(speech, left_context):
        if blocks is None:
            yield None
        else:
            yield {"MEL": blocks.mel, "FRAMES": blocks.frames, "CLIP_MAX": blocks.clip_max}


def checked_left_context(value: Any) -> int:
    """The parameter `left_context`, samples, which may come as text; ValueError where it is no whole number."""
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise ValueError(f"left_context must be a whole number of samples, not {str(value)[:40]!r}") from None
