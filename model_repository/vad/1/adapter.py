"""Triton adapter of the voice activity detector: clips and parts of streams take turns, some windows at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .answers import Answer
from .parameters import Parameters
from .room_metrics import RoomMetrics
from .silero import STATE_HEAD, Judged, Silero, initial_state
from .spans import speech_spans
from .turns import RoomFull, Turns, checked_priority, usable_cores

# An hour; longer ones are sent in parts, with STATE.
MAX_SAMPLES = 3_600 * 16_000
CLOSE_S = 5.0
# What a request may say otherwise; threads and memory are the server's.
RULES = ("threshold", "min_speech_ms", "min_silence_ms", "speech_pad_ms")


class Adapter:
    def __init__(self, parameters: Parameters, folder: Path, args: dict[str, str]) -> None:
        """folder: this version's, where the network is. args: of the instance, as Triton gives them."""
        self.parameters = parameters
        self.silero = Silero(folder / "silero_vad.onnx")
        self._turns: Turns[_Clip] = Turns(
            _advance,
            num_threads=parameters.threads or usable_cores(),
            max_waiting_bytes=parameters.max_waiting_mb * 2**20,
        )
        self._metrics = RoomMetrics(pb_utils, self._turns.counts, args["model_name"], args["model_instance_name"])

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            answer = Answer(request)
            try:
                self._accept(request, answer)
            except ValueError as error:
                answer.refuse(str(error))
            except RoomFull as error:
                answer.put_off(str(error))
            except Exception as error:
                pb_utils.Logger.log_error(f"vad failed: {error!r}")
                answer.fail(f"vad failed: {error}")

    def finalize(self) -> None:
        self._turns.close(CLOSE_S)
        self._metrics.close()

    def _accept(self, request: Any, answer: Answer) -> None:
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
            return
        rules = self._rules(parameters)
        parts = self._judged(pcm, state, whole=carried is None)
        self._turns.add(_Clip(parts, pcm.size, rules, checked_priority(parameters), answer))

    def _judged(self, pcm: Any, state: Any, *, whole: bool) -> Iterator[Judged | None]:
        # Here, where nobody waits for it: that of a long clip takes a while.
        if not np.isfinite(pcm).all():
            raise ValueError("PCM holds NaN or infinity")
        yield from self.silero.judge(pcm, state, whole=whole)

    def _rules(self, parameters: dict[str, Any]) -> Parameters:
        """What counts as a span, with what a request names of it; the rest of its parameters are for others."""
        return self.parameters.changed({name: str(value) for name, value in parameters.items() if name in RULES})


class _Clip:
    """A job of this room."""

    def __init__(
        self, parts: Iterator[Judged | None], num_samples: int, rules: Parameters, priority: int, answer: Answer
    ) -> None:
        self.priority = priority
        self.num_bytes = 4 * num_samples
        self._parts = parts
        self._num_samples = num_samples
        self._rules = rules
        self._answer = answer

    def advance(self) -> bool:
        """Judge some more; returns whether there is more to do."""
        try:
            judged = next(self._parts)
        except ValueError as error:
            self._answer.refuse(str(error))
            return False
        if judged is None:
            return True
        probabilities, state = judged
        spans = speech_spans(probabilities, self._num_samples, self._rules)
        self._answer.give(SPEECH_PROB=probabilities, SPEECH=spans, STATE=state)
        return False

    def is_cancelled(self) -> bool:
        return self._answer.is_cancelled()

    def fail(self, message: str) -> None:
        self._answer.fail(f"vad failed: {message}")


def _advance(clips: list[_Clip]) -> list[_Clip]:
    return [clip for clip in clips if clip.advance()]


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
