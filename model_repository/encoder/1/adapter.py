"""Triton adapter of the encoder: blocks of everybody's requests share runs, live ones first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from .answers import Answer
from .encoding import Encoding
from .engine import BlockEncoderEngine
from .parameters import Parameters
from .providers import split_device
from .room import Room
from .turns import Turns, checked_priority, usable_cores

# On a CPU a run is no cheaper with company, so blocks are as long as they need to the second; on a GPU it is.
LENGTH_STEPS = {"cpu": 100}
LENGTH_STEP = 200


class Adapter(Room["_Blocks"]):
    name = "encoder"

    def __init__(self, parameters: Parameters, folder: Path, args: dict[str, str]) -> None:
        """folder: this version's, where the graph is. args: of the instance, as Triton gives them."""
        provider, device = split_device(parameters.execution_provider)
        self._length_step = LENGTH_STEPS.get(provider, LENGTH_STEP)
        # A GPU instance is given its device by the instance group; the process sees all of them.
        self.engine = BlockEncoderEngine(
            folder / "model.onnx",
            parameters.intra_op_num_threads,
            parameters.max_blocks_per_run,
            provider=provider,
            device=int(args["model_instance_device_id"]) if args["model_instance_kind"] == "GPU" else device,
            engine_cache=parameters.engine_cache,
        )
        # Half of the cores: the other half is the decoder's. A GPU makes one run at a time.
        at_once = max(1, usable_cores() // 2 // self.engine.num_threads) if provider == "cpu" else 1
        turns: Turns[_Blocks] = Turns(
            self._advance,
            choose=self._choose,
            num_threads=parameters.runs_at_once or at_once,
            max_waiting_bytes=parameters.max_waiting_mb * 2**20,
        )
        super().__init__(turns, args)

    def job(self, request: Any, answer: Answer) -> _Blocks:
        names = ("MEL", "FRAMES", "CLIP_MAX")
        mel, frames, clip_max = (pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in names)
        priority = checked_priority(json.loads(request.parameters() or "{}"))
        return _Blocks(Encoding(mel, frames, clip_max, self._length_step), mel.nbytes, priority, answer)

    def _choose(self, waiting: Sequence[_Blocks]) -> list[_Blocks]:
        return list(waiting[: self.engine.sharing([blocks.encoding for blocks in waiting])])

    def _advance(self, requests: list[_Blocks]) -> list[_Blocks]:
        requests = [blocks for blocks in requests if blocks.is_sound()]
        if requests:
            self.engine.advance([blocks.encoding for blocks in requests])
        return [blocks for blocks in requests if not blocks.answered_when_done()]


class _Blocks:
    """A job of this room."""

    def __init__(self, encoding: Encoding, num_bytes: int, priority: int, answer: Answer) -> None:
        self.encoding = encoding
        self.num_bytes = num_bytes
        self.priority = priority
        self._answer = answer
        self._checked = False

    def is_sound(self) -> bool:
        """Whether all of it is finite; refused where it is not. Looked at before the first run, not in `execute`, where
        others wait behind a long clip."""
        if self._checked:
            return True
        self._checked = True
        sound = self.encoding.is_finite()
        if not sound:
            self._answer.refuse("MEL and CLIP_MAX must be finite")
        return sound

    def answered_when_done(self) -> bool:
        if self.encoding.is_done:
            self._answer.give(EMBEDDINGS=self.encoding.embeddings)
        return self.encoding.is_done

    def is_cancelled(self) -> bool:
        return self._answer.is_cancelled()

    def fail(self, message: str) -> None:
        self._answer.fail(f"encoder failed: {message}")
