"""The block encoder as ONNX, checked against PyTorch before it is put in place."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from export.checkpoint import Checkpoint
from export.encoder.block_encoder import BlockEncoder
from export.encoder.onnx_file import move, stamp
from export.errors import ExportError
from export.files import require_space, staged

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# The first operator sets with FP8 (19) and Gelu (20), and with convolutions in bfloat16 (22).
OPSETS = {"fp32": 20, "fp16": 20, "bf16": 22}
# Blocks of one engine call, as encoder/config.pbtxt allows.
MAX_BLOCKS = 64
# ONNX against PyTorch in the same precision, as a share of the largest embedding (fp32: absolute): what is larger is a
# mistake and not rounding.
TOLERANCES = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 1e-1}


@dataclass(frozen=True)
class Verified:
    """Largest absolute difference of the embeddings, and their largest absolute value; None where nothing here runs a
    graph of this precision."""

    max_abs_diff: float | None
    max_abs: float


def export_encoder(
    checkpoint: Checkpoint, target: Path, precision: str = "fp32", *, fixed_length: bool = False
) -> Verified:
    """Write `target` (model.onnx), N dynamic from 1 to 64.

    precision: of convolutions and products; what needs float32 stays float32 (BlockEncoder.in_precision), inputs and
    outputs always. fixed_length: T is 800, and not any multiple of 100 up to it.
    Raises ExportError where ONNX differs from PyTorch.
    """
    encoder = checkpoint.block_encoder().in_precision(PRECISIONS[precision])
    size = sum(parameter.numel() * parameter.element_size() for parameter in encoder.parameters())
    require_space(target.parent, size * 2)
    with staged(target) as folder:
        path = folder / target.name
        _write(encoder, path, OPSETS[precision], fixed_length)
        stamp(
            path,
            checkpoint=checkpoint.name,
            weights_sha256=checkpoint.fingerprint,
            precision=precision,
            length="800" if fixed_length else "100 to 800",
        )
        verified = verify(encoder, path, fixed_length)
        allowed = TOLERANCES[precision] * (1.0 if precision == "fp32" else verified.max_abs)
        if verified.max_abs_diff is not None and not verified.max_abs_diff < allowed:
            raise ExportError(f"ONNX differs from PyTorch by {verified.max_abs_diff:.2e}; nothing was written")
        move(path, target)
    return verified


def _write(encoder: BlockEncoder, path: Path, opset: int, fixed_length: bool) -> None:
    blocks = torch.export.Dim("blocks", min=1, max=MAX_BLOCKS)
    lengths = {} if fixed_length else {2: 100 * torch.export.Dim("chunks", min=1, max=8)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            encoder,
            example(num_blocks=2, length=800, seed=0),
            path,
            input_names=["MEL", "FRAMES", "CLIP_MAX"],
            output_names=["EMBEDDINGS"],
            dynamic_shapes={"mel": {0: blocks, **lengths}, "frames": {0: blocks}, "clip_max": {0: blocks}},
            opset_version=opset,
            dynamo=True,
            external_data=sum(p.numel() * p.element_size() for p in encoder.parameters()) > 1.5e9,
            verbose=False,
        )


def verify(encoder: BlockEncoder, path: Path, fixed_length: bool = False) -> Verified:
    """Run both on blocks of every awkward length."""
    session = None
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        # ONNX Runtime's CPU provider has no bfloat16 convolutions.
        if encoder.conv2d1.weight.dtype != torch.bfloat16:
            raise
    worst = largest = 0.0
    shapes = [(1, 800), (3, 800), (8, 800)] if fixed_length else [(1, 800), (3, 800), (8, 800), (2, 200), (1, 400)]
    for seed, (num_blocks, length) in enumerate(shapes):
        mel, frames, clip_max = example(num_blocks, length, seed)
        with torch.inference_mode():
            expected = encoder(mel, frames, clip_max).numpy()
        largest = max(largest, float(np.abs(expected).max()))
        if session is not None:
            feeds = {"MEL": mel.numpy(), "FRAMES": frames.numpy(), "CLIP_MAX": clip_max.numpy()}
            worst = max(worst, float(np.abs(session.run(None, feeds)[0] - expected).max()))
    return Verified(None if session is None else worst, largest)


def example(num_blocks: int, length: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mel-like blocks with valid frames from none to all: MEL, FRAMES, CLIP_MAX."""
    generator = torch.Generator().manual_seed(seed)
    mel = torch.randn(num_blocks, 128, length, generator=generator) * 2 - 4
    frames = torch.randint(0, length + 1, (num_blocks, 1), generator=generator, dtype=torch.int32)
    frames[0] = length
    return mel, frames, mel.amax(dim=(1, 2)).max().expand(num_blocks, 1).contiguous()
