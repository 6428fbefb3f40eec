"""Encoder engines to compare: PyTorch, ONNX Runtime on any provider, a TensorRT plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from export.checkpoint import Checkpoint
from export.encoder.onnx_export import PRECISIONS
from export.encoder.onnx_file import read_properties
from export.encoder.plan import load_plan, profile_for
from export.errors import ExportError
from export.rooms import room

Floats = NDArray[np.float32]


class EncoderEngine(Protocol):
    """mel float32 [N, 128, T], frames int32 [N, 1], clip_max float32 [N, 1] -> float32 [N, 13 T / 100, D]."""

    def encode(self, mel: Floats, frames: NDArray[np.int32], clip_max: Floats) -> Floats: ...


class TorchEngine:
    """The block encoder in PyTorch: the reference."""

    def __init__(self, checkpoint: Checkpoint, precision: str = "fp32", device: str = "cpu") -> None:
        self._device = device
        self._encoder = checkpoint.block_encoder().in_precision(PRECISIONS[precision]).to(device)

    @torch.inference_mode()
    def encode(self, mel: Floats, frames: NDArray[np.int32], clip_max: Floats) -> Floats:
        feeds = (torch.from_numpy(np.ascontiguousarray(one)).to(self._device) for one in (mel, frames, clip_max))
        embeddings: Floats = self._encoder(*feeds).cpu().numpy()
        return embeddings


class PlanEngine:
    """A TensorRT plan on the GPU it was built for."""

    def __init__(self, path: Path) -> None:
        self._engine = load_plan(path)
        self._context = self._engine.create_execution_context()

    def encode(self, mel: Floats, frames: NDArray[np.int32], clip_max: Floats) -> Floats:
        feeds = (torch.from_numpy(np.ascontiguousarray(one)).cuda() for one in (mel, frames, clip_max))
        embeddings: Floats = self.run(*feeds).cpu().numpy()
        return embeddings

    def run(self, mel: torch.Tensor, frames: torch.Tensor, clip_max: torch.Tensor) -> torch.Tensor:
        """The same on the GPU; returns before it is done, in the order of PyTorch's current stream."""
        stream = torch.cuda.current_stream().cuda_stream
        if self._engine.num_optimization_profiles > 1:
            self._context.set_optimization_profile_async(profile_for(mel.shape[2]), stream)
        for name, tensor in (("MEL", mel), ("FRAMES", frames), ("CLIP_MAX", clip_max)):
            self._context.set_input_shape(name, tuple(tensor.shape))
            self._context.set_tensor_address(name, tensor.data_ptr())
        out = torch.empty(tuple(self._context.get_tensor_shape("EMBEDDINGS")), dtype=torch.float32, device="cuda")
        self._context.set_tensor_address("EMBEDDINGS", out.data_ptr())
        if not self._context.execute_async_v3(stream):
            raise ExportError("TensorRT did not run the plan: its log above says why")
        return out


def open_engine(name: str, checkpoint: Checkpoint) -> EncoderEngine:
    """An engine by what it is called on the command line.

    `torch`, `torch:fp16`, `torch:bf16@cuda`; `PATH.onnx`, `PATH.onnx@cuda`, `@tensorrt`, `@tensorrt_rtx`; `PATH.plan`.
    Raises ExportError where there is none of that name, or it was made from another checkpoint.
    """
    what, _, where = name.partition("@")
    if what == "torch" or what.startswith("torch:"):
        precision = what.partition(":")[2] or "fp32"
        if precision not in PRECISIONS:
            raise ExportError(f"{name}: the precision must be one of {', '.join(PRECISIONS)}")
        return TorchEngine(checkpoint, precision, where or "cpu")
    path = Path(what)
    if not path.is_file():
        raise ExportError(f"{name} is no engine: torch, torch:fp16, a .onnx file, or a .plan file")
    if path.suffix == ".plan":
        return PlanEngine(path)
    properties = read_properties(path)
    made_from = properties.get("weights_sha256")
    if made_from and made_from != checkpoint.fingerprint:
        raise ExportError(f"{path} was exported from other weights than those of {checkpoint.folder}")
    engine: Any = room("encoder", "engine")
    # FP8 has few operators on the CPU: Q/DQ stay where they are, and what is between them is computed in float.
    entries = {"session.disable_quant_qdq": "1"} if properties.get("quantization") == "fp8" else {}
    try:
        opened: EncoderEngine = engine.BlockEncoderEngine(path, 0, 16, provider=where or "cpu", entries=entries)
    except (RuntimeError, ValueError) as error:
        raise ExportError(f"{name}: {error}") from error
    return opened
