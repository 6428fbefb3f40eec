"""The encoder's engines on a GPU: ratios to PyTorch eager in the same precision, and the share of the card's peak."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from export.checkpoint import Checkpoint
from export.encoder.block_encoder import EncoderConfig
from export.encoder.onnx_export import PRECISIONS, example, export_encoder
from export.errors import ExportError

# Dense tensor-core peaks in TFLOP/s as published (float16 with float32 sums; TF32 for float32).
PEAKS = {
    "RTX 4090": {"fp16": 165.2, "fp32": 82.6},
    "L4": {"fp16": 121.0, "fp32": 60.0},
    "A100": {"fp16": 312.0, "fp32": 156.0},
    "H100": {"fp16": 989.4, "fp32": 494.7},
    "H200": {"fp16": 989.4, "fp32": 494.7},
}


def block_flops(config: EncoderConfig, frames: int = 800) -> float:
    """Floating-point operations of one block: two for each multiplication of convolutions, products and attention."""
    chunks, tokens, channels, width = frames / 100, 13 * frames / 100, config.downsample_hidden_size, config.d_model
    sizes = [(64, 50), (32, 25), (16, 13)]
    convolutions = sum(
        9 * (1 if index == 0 else channels) * channels * rows * columns for index, (rows, columns) in enumerate(sizes)
    )
    layer = 4 * width * width + 2 * width * config.encoder_ffn_dim + 2 * tokens * width
    projector = width * width + width * config.output_dim
    return 2 * (chunks * convolutions + tokens * (16 * channels * width + config.encoder_layers * layer + projector))


def measure(checkpoint: Checkpoint, folder: Path, batches: tuple[int, ...]) -> dict[str, Any]:
    """Figures encoder.gpu_*; engines that are not installed are left out and named."""
    name = torch.cuda.get_device_name()
    peak = next((one for card, one in PEAKS.items() if card in name), None)
    figures: dict[str, Any] = {"encoder.gpu": name}
    for precision in ("fp32", "fp16"):
        runs = _runs(checkpoint, folder, precision, figures)
        for batch in batches:
            seconds = _in_turn(runs, batch)
            for engine, one in seconds.items():
                figures[f"encoder.gpu_{engine}_{precision}_ms_x{batch}"] = 1_000 * one
                if engine != "torch":
                    figures[f"encoder.{engine}_over_torch_{precision}_x{batch}"] = seconds["torch"] / one
                if peak is not None:
                    share = batch * block_flops(checkpoint.encoder_config()) / one / 1e12 / peak[precision]
                    figures[f"encoder.gpu_{engine}_{precision}_peak_share_x{batch}"] = share
    ratios = [value for key, value in figures.items() if key.startswith("encoder.trt_over_torch_fp16_x")]
    if ratios:
        figures["encoder.trt_over_torch"] = float(np.exp(np.mean(np.log(ratios))))
    return figures


def _runs(
    checkpoint: Checkpoint, folder: Path, precision: str, figures: dict[str, Any]
) -> dict[str, Callable[[tuple[torch.Tensor, ...]], Any]]:
    """What runs one batch that is on the GPU already, by engine."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    encoder = checkpoint.block_encoder().in_precision(PRECISIONS[precision]).cuda()
    compiled = torch.compile(encoder)
    runs: dict[str, Callable[[tuple[torch.Tensor, ...]], Any]] = {
        "torch": lambda feeds: encoder(*feeds),
        "compile": lambda feeds: compiled(*feeds),
    }
    onnx = folder / f"gpu-{precision}" / "model.onnx"
    export_encoder(checkpoint, onnx, precision)
    try:
        runs["ort"] = _onnx_runtime(onnx)
    except (RuntimeError, ImportError) as error:
        figures["encoder.gpu_without_ort"] = str(error)[:200]
    try:
        runs["trt"] = _tensorrt(onnx)
    except ExportError as error:
        figures["encoder.gpu_without_trt"] = str(error)[:200]
    return runs


def _onnx_runtime(onnx: Path) -> Callable[[tuple[torch.Tensor, ...]], Any]:
    import onnxruntime

    from export.rooms import room

    session = room("encoder", "providers").open_session(onnx, onnxruntime.SessionOptions(), "cuda", 0, "")

    def run(feeds: tuple[torch.Tensor, ...]) -> None:
        binding = session.io_binding()
        for name, tensor in zip(("MEL", "FRAMES", "CLIP_MAX"), feeds, strict=True):
            kind = np.int32 if tensor.dtype == torch.int32 else np.float32
            binding.bind_input(name, "cuda", 0, kind, tuple(tensor.shape), tensor.data_ptr())
        binding.bind_output("EMBEDDINGS", "cuda")
        session.run_with_iobinding(binding)

    return run


def _tensorrt(onnx: Path) -> Callable[[tuple[torch.Tensor, ...]], Any]:
    from export.encoder.engines import PlanEngine
    from export.encoder.tensorrt_builder import BuildOptions, build_plan

    plan = onnx.with_name("model.plan")
    build_plan(onnx, plan, BuildOptions())
    engine = PlanEngine(plan)
    return lambda feeds: engine.run(*feeds)


@torch.inference_mode()
def _in_turn(runs: dict[str, Callable[[tuple[torch.Tensor, ...]], Any]], batch: int) -> dict[str, float]:
    """Median seconds of a run by the wall clock, synchronized, engine after engine."""
    mel, _, clip_max = example(batch, 800, seed=batch)
    feeds = (mel.cuda(), torch.full((batch, 1), 800, dtype=torch.int32).cuda(), clip_max.cuda())
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in tqdm(range(25), desc=f"{batch} blocks", leave=False):
        for name, run in runs.items():
            torch.cuda.synchronize()
            started = time.perf_counter()
            run(feeds)
            torch.cuda.synchronize()
            if number >= 5:
                times[name].append(time.perf_counter() - started)
    return {name: float(np.median(one)) for name, one in times.items()}
