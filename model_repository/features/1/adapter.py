"""Triton adapter of the feature extractor."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .blocks import blocks_of, speech_of
from .parameters import Parameters


class Adapter:
    def __init__(self, parameters: Parameters) -> None:
        self.max_blocks = parameters.max_blocks

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            return pb_utils.InferenceResponse(self._outputs(request))
        except ValueError as error:
            return _refusal(str(error), invalid=True)
        except Exception as error:
            pb_utils.Logger.log_error(f"features failed: {error!r}")
            return _refusal(f"features failed: {error}")

    def _outputs(self, request: Any) -> list[Any]:
        pcm = pb_utils.get_input_tensor_by_name(request, "PCM").as_numpy()
        spans = pb_utils.get_input_tensor_by_name(request, "SPEECH").as_numpy()
        speech = speech_of(pcm, spans.reshape(-1, 2))
        if not np.isfinite(speech).all():
            raise ValueError("PCM holds NaN or infinity")
        parameters = json.loads(request.parameters() or "{}")
        blocks = blocks_of(speech, self.max_blocks, checked_left_context(parameters.get("left_context", 0)))
        return [
            pb_utils.Tensor("MEL", blocks.mel),
            pb_utils.Tensor("FRAMES", blocks.frames),
            pb_utils.Tensor("CLIP_MAX", blocks.clip_max),
        ]


def checked_left_context(value: Any) -> int:
    """The parameter `left_context`, samples, which may come as text; ValueError where it is no whole number."""
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise ValueError(f"left_context must be a whole number of samples, not {str(value)[:40]!r}") from None


def _refusal(message: str, *, invalid: bool = False) -> Any:
    # A stream's answer carries the message alone, so the code that clients sort errors by stands in it as well.
    if invalid:
        return pb_utils.InferenceResponse(
            error=pb_utils.TritonError(f"INVALID_ARGUMENT: {message}", pb_utils.TritonError.INVALID_ARG)
        )
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INTERNAL))
