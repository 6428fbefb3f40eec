"""Triton adapter of the voice activity detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .parameters import Parameters
from .silero import STATE_HEAD, Silero, initial_state
from .spans import speech_spans

# An hour. Everybody's clips and streams wait while one is judged, for some seconds then; longer ones are sent in parts,
# with STATE.
MAX_SAMPLES = 3_600 * 16_000


class Adapter:
    def __init__(self, parameters: Parameters, folder: Path) -> None:
        """folder: this version's, where the network is."""
        self.parameters = parameters
        self.silero = Silero(folder / "silero_vad.onnx")

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            return pb_utils.InferenceResponse(self._outputs(request))
        except ValueError as error:
            return _refusal(str(error), invalid=True)
        except Exception as error:
            pb_utils.Logger.log_error(f"vad failed: {error!r}")
            return _refusal(f"vad failed: {error}")

    def _outputs(self, request: Any) -> list[Any]:
        parameters = json.loads(request.parameters() or "{}")
        samples = pb_utils.get_input_tensor_by_name(request, "PCM")
        if samples is None:
            raise ValueError("PCM is missing")
        pcm = checked_pcm(samples.as_numpy())
        carried = pb_utils.get_input_tensor_by_name(request, "STATE")
        state = initial_state() if carried is None else checked_state(carried.as_numpy())
        if parameters.get("vad") == "off":
            probabilities = np.empty(0, dtype=np.float32)
            spans = np.array([[0, pcm.size]], dtype=np.int32)
        else:
            probabilities, state = self.silero.probabilities(pcm, state, whole=carried is None)
            spans = speech_spans(probabilities, pcm.size, self._rules(parameters))
        return [
            pb_utils.Tensor("SPEECH_PROB", probabilities),
            pb_utils.Tensor("SPEECH", spans),
            pb_utils.Tensor("STATE", state),
        ]

    def _rules(self, parameters: dict[str, Any]) -> Parameters:
        """What counts as a span, with what a request names of it; the rest of its parameters are for others."""
        names = Parameters.__dataclass_fields__
        return self.parameters.changed({name: str(value) for name, value in parameters.items() if name in names})


def checked_pcm(pcm: Any) -> Any:
    """The clip as it is, or ValueError where it is empty, too long or not finite."""
    if pcm.size == 0:
        raise ValueError("PCM is empty")
    if pcm.size > MAX_SAMPLES:
        raise ValueError(f"PCM has {pcm.size} samples; {MAX_SAMPLES} are the most")
    if not np.isfinite(pcm).all():
        raise ValueError("PCM holds NaN or infinity")
    return pcm


def checked_state(state: Any) -> Any:
    """A stream's state as it is, or ValueError where it did not come from this model."""
    if state.size < STATE_HEAD or not np.isfinite(state).all():
        raise ValueError(f"STATE is not what vad returned: at least {STATE_HEAD} finite numbers are needed")
    return state


def _refusal(message: str, *, invalid: bool = False) -> Any:
    # A stream's answer carries the message alone, so the code that clients sort errors by stands in it as well.
    if invalid:
        return pb_utils.InferenceResponse(
            error=pb_utils.TritonError(f"INVALID_ARGUMENT: {message}", pb_utils.TritonError.INVALID_ARG)
        )
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INTERNAL))
