"""Triton adapter of the encoder: the requests of one call become one batch."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .engine import BlockEncoderEngine
from .parameters import Parameters
from .providers import split_device


class Adapter:
    def __init__(self, parameters: Parameters, folder: Path, args: dict[str, str]) -> None:
        """folder: this version's, where the graph is. args: of the instance, as Triton gives them."""
        provider, device = split_device(parameters.execution_provider)
        # A GPU instance is given its device by the instance group; the process sees all of them.
        self.engine = BlockEncoderEngine(
            folder / "model.onnx",
            parameters.intra_op_num_threads,
            parameters.max_blocks_per_run,
            provider=provider,
            device=int(args["model_instance_device_id"]) if args["model_instance_kind"] == "GPU" else device,
            engine_cache=parameters.engine_cache,
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        inputs = [_inputs(request) for request in requests]
        answers: list[Any] = [None] * len(requests)
        # Blocks of one length can share a run; Triton groups them so already, a caller of its own kind may not.
        by_length: dict[int, list[int]] = defaultdict(list)
        for index, (mel, _, clip_max) in enumerate(inputs):
            if np.isfinite(mel).all() and np.isfinite(clip_max).all():
                by_length[mel.shape[2]].append(index)
            else:
                answers[index] = _refusal("MEL and CLIP_MAX must be finite", invalid=True)
        for indices in by_length.values():
            self._encode([inputs[i] for i in indices], indices, answers)
        return answers

    def _encode(self, inputs: list[Any], indices: list[int], answers: list[Any]) -> None:
        """Fill in the answers of requests of one length; a bad one among them fails alone."""
        try:
            embeddings = self.engine.encode(*(np.concatenate(parts) for parts in zip(*inputs, strict=True)))
        except Exception as error:
            if len(indices) > 1:
                for one, index in zip(inputs, indices, strict=True):
                    self._encode([one], [index], answers)
                return
            answers[indices[0]] = _refusal(str(error), invalid=isinstance(error, ValueError))
            return
        ends = np.cumsum([one[0].shape[0] for one in inputs])[:-1]
        for index, part in zip(indices, np.split(embeddings, ends), strict=True):
            answers[index] = pb_utils.InferenceResponse([pb_utils.Tensor("EMBEDDINGS", np.ascontiguousarray(part))])


def _inputs(request: Any) -> tuple[Any, Any, Any]:
    names = ("MEL", "FRAMES", "CLIP_MAX")
    mel, frames, clip_max = (pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in names)
    return mel, frames, clip_max


def _refusal(message: str, *, invalid: bool = False) -> Any:
    # A stream's answer carries the message alone, so the code that clients sort errors by stands in it as well.
    if invalid:
        return pb_utils.InferenceResponse(
            error=pb_utils.TritonError(f"INVALID_ARGUMENT: {message}", pb_utils.TritonError.INVALID_ARG)
        )
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INTERNAL))
