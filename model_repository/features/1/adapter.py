"""Triton adapter of the feature extractor: clips and parts of streams take turns, some seconds at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .answers import Answer
from .blocks import Blocks, blocks_in_parts, check, speech_of
from .parameters import Parameters
from .room_metrics import RoomMetrics
from .turns import RoomFull, Turns, checked_priority, usable_cores

CLOSE_S = 5.0


class Adapter:
    def __init__(self, parameters: Parameters, args: dict[str, str]) -> None:
        """args: of the instance, as Triton gives them."""
        self.max_blocks = parameters.max_blocks
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
                self._turns.add(self._clip(request, answer))
            except ValueError as error:
                answer.refuse(str(error))
            except RoomFull as error:
                answer.put_off(str(error))
            except Exception as error:
                pb_utils.Logger.log_error(f"features failed: {error!r}")
                answer.fail(f"features failed: {error}")

    def finalize(self) -> None:
        self._turns.close(CLOSE_S)
        self._metrics.close()

    def _clip(self, request: Any, answer: Answer) -> _Clip:
        pcm = pb_utils.get_input_tensor_by_name(request, "PCM").as_numpy()
        spans = pb_utils.get_input_tensor_by_name(request, "SPEECH").as_numpy()
        speech = speech_of(pcm, spans.reshape(-1, 2))
        parameters = json.loads(request.parameters() or "{}")
        left_context = checked_left_context(parameters.get("left_context", 0))
        check(speech.size, self.max_blocks, left_context)
        return _Clip(_parts(speech, left_context), speech.nbytes, checked_priority(parameters), answer)


class _Clip:
    """A job of this room."""

    def __init__(self, parts: Iterator[Blocks | None], num_bytes: int, priority: int, answer: Answer) -> None:
        self.priority = priority
        self.num_bytes = num_bytes
        self._parts = parts
        self._answer = answer

    def advance(self) -> bool:
        """Make some more frames; returns whether there is more to do."""
        try:
            blocks = next(self._parts)
        except ValueError as error:
            self._answer.refuse(str(error))
            return False
        if blocks is None:
            return True
        self._answer.give(MEL=blocks.mel, FRAMES=blocks.frames, CLIP_MAX=blocks.clip_max)
        return False

    def is_cancelled(self) -> bool:
        return self._answer.is_cancelled()

    def fail(self, message: str) -> None:
        self._answer.fail(f"features failed: {message}")


def _parts(speech: Any, left_context: int) -> Iterator[Blocks | None]:
    # Here, where nobody waits for it: that of a long clip takes a while.
    if not np.isfinite(speech).all():
        raise ValueError("PCM holds NaN or infinity")
    yield from blocks_in_parts(speech, left_context)


def _advance(clips: list[_Clip]) -> list[_Clip]:
    return [clip for clip in clips if clip.advance()]


def checked_left_context(value: Any) -> int:
    """The parameter `left_context`, samples, which may come as text; ValueError where it is no whole number."""
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise ValueError(f"left_context must be a whole number of samples, not {str(value)[:40]!r}") from None
