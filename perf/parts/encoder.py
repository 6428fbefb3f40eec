"""The encoder's engines side by side: exactness, speed, tokens; and what an export of the true dimensions costs."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from export.checkpoint import Checkpoint
from export.encoder.engines import EncoderEngine, open_engine
from export.encoder.onnx_export import example, export_encoder
from export.encoder.quantize import quantize_encoder
from export.errors import ExportError
from export.local import LocalAsr
from export.speech import Spoken, read_speech
from export.verify import compare, hear
from perf.models.random_checkpoint import TINY, write_checkpoint
from perf.results import kept, write_json
from perf.speech.clips import RECORDINGS
from perf.speech.digits import write_digits

BATCHES = (1, 4, 16)
CUDA_BATCHES = (1, 8, 64)


def benchmark(quick: bool, json_path: Path | None, size: str, parts: list[str]) -> int:
    """Print and write the figures; those of parts that are left out are kept as they are in the file."""
    figures = kept(json_path, "encoder.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "tiny" in parts:
            figures |= _tiny(folder)
        if "speed" in parts:
            figures |= _speed(folder, "small" if quick else size, 2 if quick else 5)
        if "exports" in parts:
            for one in ("small",) if quick else ("0.6b", "1.7b"):
                for layout in ("native", "original"):
                    figures |= _export(folder, one, layout)
        if "gpu" in parts and torch.cuda.is_available():
            figures |= _gpu(folder, size)
    for name, value in figures.items():
        print(f"{name:52}{value:12.4g}" if isinstance(value, float) else f"{name:52}{value:>12}")
    write_json(json_path, figures)
    return 0


def speech_set(folder: Path, count: int) -> list[Spoken]:
    """Human digits where they are at hand, else the shipped recordings."""
    try:
        return read_speech(write_digits(folder / "digits", count))
    except FileNotFoundError:
        return read_speech(RECORDINGS)


def _tiny(folder: Path) -> dict[str, float]:
    """Every engine of the tiny checkpoint on speech: what is lost, in embeddings, tokens and words."""
    checkpoint = Checkpoint(TINY)
    speech = speech_set(folder, 120)
    calibration, held_out = speech[::2], speech[1::2] or speech
    engines = {"fp32": folder / "tiny.onnx", "fp16": folder / "tiny-fp16.onnx"}
    for precision, path in engines.items():
        export_encoder(checkpoint, path, precision)
    for kind in ("int8", "fp8"):
        engines[kind] = folder / f"tiny-{kind}.onnx"
        quantize_encoder(engines["fp32"], engines[kind], kind, calibration)
    with LocalAsr(TINY) as asr:
        reference = hear(open_engine("torch", checkpoint), asr, held_out)
        parities = {
            name: compare(reference, hear(open_engine(str(path), checkpoint), asr, held_out), held_out)
            for name, path in tqdm(engines.items(), desc="engines on speech", leave=False)
        }
    figures: dict[str, float] = {"encoder.speech_clips": len(held_out)}
    for name, one in parities.items():
        figures[f"encoder.max_abs_diff_{name}"] = one.max_abs_diff
        figures[f"encoder.cosine_{name}"] = one.cosine
        figures[f"encoder.{name}_token_agreement"] = one.token_agreement
        if one.wer is not None:
            figures[f"encoder.{name}_wer"] = one.wer
    return figures


def _speed(folder: Path, size: str, rounds: int) -> dict[str, float]:
    """ONNX Runtime and int8 against PyTorch eager on the CPU, in turn, full blocks."""
    write_checkpoint(folder / "speed", size, "native")
    checkpoint = Checkpoint(folder / "speed")
    onnx, int8 = folder / "speed.onnx", folder / "speed-int8.onnx"
    verified = export_encoder(checkpoint, onnx)
    quantize_encoder(onnx, int8, "int8", speech_set(folder, 8))
    engines = {"torch": "torch", "ort": str(onnx), "int8": str(int8)}
    opened = {name: open_engine(where, checkpoint) for name, where in engines.items()}
    assert verified.max_abs_diff is not None
    figures = {f"encoder.max_abs_diff_{size}": verified.max_abs_diff}
    for batch in BATCHES:
        seconds = _in_turn(opened, batch, rounds)
        for name in ("ort", "int8"):
            figures[f"encoder.{name}_over_torch_x{batch}"] = seconds["torch"] / seconds[name]
        figures[f"encoder.ort_ms_per_block_x{batch}"] = 1_000 * seconds["ort"] / batch
    ratios = {name: [figures[f"encoder.{name}_over_torch_x{batch}"] for batch in BATCHES] for name in ("ort", "int8")}
    return figures | {f"encoder.{name}_over_torch": float(np.exp(np.mean(np.log(r)))) for name, r in ratios.items()}


def _in_turn(engines: dict[str, EncoderEngine], batch: int, rounds: int) -> dict[str, float]:
    """Median seconds of a run, engine after engine, so that a busy moment strikes all."""
    mel, frames, clip_max = (one.numpy() for one in example(batch, 800, seed=batch))
    frames[:] = 800
    times: dict[str, list[float]] = {name: [] for name in engines}
    for number in tqdm(range(rounds + 1), desc=f"{batch} blocks", leave=False):
        for name, engine in engines.items():
            started = time.perf_counter()
            engine.encode(mel, frames, clip_max)
            if number:
                times[name].append(time.perf_counter() - started)
    return {name: float(np.median(one)) for name, one in times.items()}


def _export(folder: Path, size: str, layout: str) -> dict[str, float]:
    """Export a random checkpoint in a process of its own: its time, peak memory, and file sizes."""
    checkpoint, repository = folder / f"{size}-{layout}", folder / "repository"
    context = multiprocessing.get_context("spawn")
    writing = context.Process(target=write_checkpoint, args=(checkpoint, size, layout))
    writing.start()
    writing.join(1_800)
    queue: Any = context.Queue()
    process = context.Process(target=_export_all, args=(checkpoint, repository, queue))
    process.start()
    answer = queue.get(timeout=1_800)
    process.join(60)
    if isinstance(answer, str):
        raise ExportError(answer)
    name = f"encoder.export_{size}_{layout}"
    return {f"{name}_{key}": value for key, value in answer.items()}


def _export_all(checkpoint: Path, repository: Path, queue: Any) -> None:
    import logging

    from export.decoder import export_decoder

    logging.disable(logging.WARNING)
    try:
        started = time.monotonic()
        source = Checkpoint(checkpoint)
        onnx = repository / "model.onnx"
        verified = export_encoder(source, onnx)
        weights = export_decoder(source, repository / "checkpoint")
        assert verified.max_abs_diff is not None
        seconds, peak_gb = time.monotonic() - started, _peak_gb()
        tokens_identical = _tokens_identical(source, onnx)
        queue.put(
            {
                "s": seconds,
                "peak_gb": peak_gb,
                "tokens_identical": tokens_identical,
                "max_abs_diff": verified.max_abs_diff,
                "onnx_mb": sum(path.stat().st_size for path in repository.glob("model.onnx*")) / 1e6,
                "decoder_mb": weights / 1e6,
            }
        )
    except Exception as error:
        queue.put(f"{checkpoint.name}: {error!r}")


def _peak_gb() -> float:
    """Most memory this process has had; getrusage would tell what it was forked from."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e6


def _tokens_identical(source: Checkpoint, onnx: Path) -> float:
    """1.0 where the decoder answers the same to the embeddings of PyTorch and of the exported file."""
    speech = read_speech(RECORDINGS)[:1]
    with LocalAsr(source.folder, kv_cache_tokens=1_024) as asr:
        reference = hear(open_engine("torch", source), asr, speech)
        exported = hear(open_engine(str(onnx), source), asr, speech)
    return compare(reference, exported, speech).token_agreement


def _gpu(folder: Path, size: str) -> dict[str, float]:
    """PyTorch eager and compiled, ONNX Runtime and TensorRT on the GPU, in turn; the share of its peak."""
    from perf.parts.gpu_encoder import measure

    write_checkpoint(folder / "gpu", size, "native")
    return measure(Checkpoint(folder / "gpu"), folder, CUDA_BATCHES)
