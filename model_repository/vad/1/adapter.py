"""Triton adapter of the voice activity detector: clips and parts of streams take turns, some windows at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .answers import Answer
from .clips import Clip, Parts, advance
from .parameters import Parameters
from .room import Room
from .silero import STATE_HEAD, Silero, initial_state
from .spans import speech_spans
from .turns import Turns, checked_priority, usable_cores

# An hour; longer ones are sent in parts, with STATE.
MAX_SAMPLES = 3_600 * 16_000
# What a request may say otherwise; threads and memory are the server's.
RULES = ("threshold", "min_speech_ms", "min_silence_ms", "speech_pad_ms")


class Adapter(Room[Clip]):
    name = "vad"

    def __init__(self, parameters: Parameters, folder: Path, args: dict[str, str]) -> None:
        """folder: this version's, where the network is. args: of the instance, as Triton gives them."""
        self.parameters = parameters
        self.silero = Silero(folder / "silero_vad.onnx")
        turns: Turns[Clip] = Turns(
            advance,
            num_threads=parameters.threads or usable_cores(),
            max_waiting_bytes=parameters.max_waiting_mb * 2**20,
        )
        super().__init__(turns, args)

    def job(self, request: Any, answer: Answer) -> Clip | None:
        parameters = json.loads(request.parameters() or "{}")
        samples = pb_utils.get_input_tensor_by_name(request, "PCM")
        if samples is None:
            raise ValueError("PCM is missing")
        pcm = checked_pcm(samples.as_numpy())
        carried = pb_utils.get_input_tensor_by_name(request, "STATE")
        state = initial_state() if carried is None else checked_state(carried.as_numpy())
        if parameters.get("vad") == "off":
            spans = np.array([[0, pcm.size]], dtype=np.int32)
            answer.give(SPEECH_PROB=np.empty(0, dtype=np.float32), SPEECH=spans, STATE=state)
            return None
        parts = self._parts(pcm, state, self._rules(parameters), whole=carried is None)
        return Clip(self.name, parts, pcm.nbytes, checked_priority(parameters), answer)

    def _parts(self, pcm: Any, state: Any, rules: Parameters, *, whole: bool) -> Parts:
        # Here, where nobody waits for it: that of a long clip takes a while.
        if not np.isfinite(pcm).all():
            raise ValueError("PCM holds NaN or infinity")
        for judged in self.silero.judge(pcm, state, whole=whole):
            if judged is None:
                yield None
            else:
                probabilities, carried = judged
                spans = speech_spans(probabilities, pcm.size, rules)
                yield {"SPEECH_PROB": probabilities, "SPEECH": spans, "STATE": carried}

    def _rules(self, parameters: dict[str, Any]) -> Parameters:
        """What counts as a span, with what a request names of it; the rest of its parameters are for others."""
        return self.parameters.changed({name: str(value) for name, value in parameters.items() if name in RULES})


def checked_pcm(pcm: Any) -> Any:
    """The clip as it is, or ValueError where it is empty or too long."""
    if pcm.size == 0:
        raise ValueError("PCM is empty")
    if pcm.size > MAX_SAMPLES:
        raise ValueError(f"PCM has {pcm.size} samples; {MAX_SAMPLES} are the most")
    return pcm


def checked_state(state: Any) -> Any:
    """A stream's state as it is, or ValueError where it did not come from this model."""
    if state.size < STATE_HEAD or not np.isfinite(state).all():
        raise ValueError(f"STATE is not what vad returned: at least {STATE_HEAD} finite numbers are needed")
    return state
