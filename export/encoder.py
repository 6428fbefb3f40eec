"""The block encoder as ONNX, checked against PyTorch before it is put in place."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from export.block_encoder import BlockEncoder
from export.checkpoint import Checkpoint
from export.errors import ExportError
from export.files import require_space, staged

OPSET = 18
# Blocks of one engine call, as encoder/config.pbtxt allows.
MAX_BLOCKS = 64
# FP32 against FP32: what is larger than this is a mistake and not rounding.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Verified:
    """Largest absolute difference of the embeddings, and their largest absolute value."""

    max_abs_diff: float
    max_abs: float


def export_encoder(checkpoint: Checkpoint, target: Path) -> Verified:
    """Write `target` (model.onnx) with N and T dynamic, FP32; ExportError where it differs from PyTorch."""
    encoder = checkpoint.block_encoder()
    size = sum(parameter.numel() * 4 for parameter in encoder.parameters())
    require_space(target.parent, size * 2)
    with staged(target) as folder:
        path = folder / target.name
        _write(encoder, path)
        verified = verify(encoder, path)
        if not verified.max_abs_diff < TOLERANCE:
            raise ExportError(f"ONNX differs from PyTorch by {verified.max_abs_diff:.2e}; nothing was written")
        data = path.with_name(path.name + ".data")
        if data.exists():
            data.replace(target.with_name(data.name))
    return verified


def _write(encoder: BlockEncoder, path: Path) -> None:
    mel, frames, clip_max = example(num_blocks=2, length=800, seed=0)
    blocks = torch.export.Dim("blocks", min=1, max=MAX_BLOCKS)
    chunks = torch.export.Dim("chunks", min=1, max=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            encoder,
            (mel, frames, clip_max),
            path,
            input_names=["MEL", "FRAMES", "CLIP_MAX"],
            output_names=["EMBEDDINGS"],
            dynamic_shapes={"mel": {0: blocks, 2: 100 * chunks}, "frames": {0: blocks}, "clip_max": {0: blocks}},
            opset_version=OPSET,
            dynamo=True,
            external_data=sum(p.numel() * 4 for p in encoder.parameters()) > 1.5e9,
            verbose=False,
        )


def verify(encoder: BlockEncoder, path: Path) -> Verified:
    """Run both on blocks of every awkward length."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = largest = 0.0
    for seed, (num_blocks, length) in enumerate([(1, 800), (3, 800), (8, 800), (2, 200), (1, 400)]):
        mel, frames, clip_max = example(num_blocks, length, seed)
        with torch.inference_mode():
            expected = encoder(mel, frames, clip_max).numpy()
        feeds = {"MEL": mel.numpy(), "FRAMES": frames.numpy(), "CLIP_MAX": clip_max.numpy()}
        worst = max(worst, float(np.abs(session.run(None, feeds)[0] - expected).max()))
        largest = max(largest, float(np.abs(expected).max()))
    return Verified(worst, largest)


def example(num_blocks: int, length: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mel-like blocks with valid frames from none to all: MEL, FRAMES, CLIP_MAX."""
    generator = torch.Generator().manual_seed(seed)
    mel = torch.randn(num_blocks, 128, length, generator=generator) * 2 - 4
    frames = torch.randint(0, length + 1, (num_blocks, 1), generator=generator, dtype=torch.int32)
    frames[0] = length
    return mel, frames, mel.amax(dim=(1, 2)).max().expand(num_blocks, 1).contiguous()
