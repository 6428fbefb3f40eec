"""Triton's own perf_analyzer on our models: inputs from sound files, sweeps, and its summaries as tables."""

from __future__ import annotations

import contextlib
import csv
import json
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.rooms import room
from perf.peers.perf_analyzer import binary

Pcm = NDArray[np.float32]
MODELS = ("asr", "asr_stream", "vad", "features", "encoder", "decoder")
DECOUPLED = ("asr", "asr_stream", "decoder")
CHUNK = 8_000


@dataclass(frozen=True)
class Row:
    """One load: `level` is the concurrency or the requests a second. Latencies in milliseconds; of streams, to the
    first response."""

    level: float
    per_second: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float


def input_data(model: str, clips: list[Pcm], width: int = 0) -> dict[str, Any]:
    """What --input-data takes, for clips of any length; `asr_stream` gets each as a sequence of half-second chunks.

    width: of the embeddings that `decoder` is sent, random ones in the clips' lengths.
    """
    if model == "asr_stream":
        return {"data": [[_tensors(PCM=clip[i : i + CHUNK]) for i in range(0, clip.size, CHUNK)] for clip in clips]}
    make: dict[str, Callable[[Pcm], list[dict[str, Any]]]] = {
        "asr": lambda pcm: [_tensors(PCM=pcm)],
        "vad": lambda pcm: [_tensors(PCM=pcm)],
        "features": lambda pcm: [_tensors(PCM=pcm, SPEECH=np.array([[0, pcm.size]], dtype=np.int32))],
        "encoder": _blocks,
        "decoder": lambda pcm: [_embeddings(pcm, width)],
    }
    return {"data": [one for clip in clips for one in make[model](clip)]}


def _tensors(**values: NDArray[Any]) -> dict[str, Any]:
    """Every number is written as the float or integer that it is: perf_analyzer takes no other."""
    return {name: {"content": value.ravel().tolist(), "shape": list(value.shape)} for name, value in values.items()}


def _blocks(pcm: Pcm) -> list[dict[str, Any]]:
    made = room("features", "blocks").blocks_of(pcm, max_blocks=64)
    # perf_analyzer adds the dimension of the batch.
    return [
        _tensors(MEL=mel, FRAMES=frames, CLIP_MAX=top)
        for mel, frames, top in zip(made.mel, made.frames, made.clip_max, strict=True)
    ]


def _embeddings(pcm: Pcm, width: int) -> dict[str, Any]:
    frames = room("features", "blocks").blocks_of(pcm, max_blocks=64).frames
    rows = np.random.default_rng(pcm.size).standard_normal((len(frames), 104, width)).astype(np.float32)
    return _tensors(EMBEDDINGS=np.round(rows, 4), FRAMES=frames.astype(np.int32))


def run(
    url: str,
    model: str,
    clips: list[Pcm],
    levels: list[int],
    *,
    rates: bool = False,
    width: int = 0,
    window_ms: int = 3_000,
    leave: Path | None = None,
) -> tuple[list[Row], str]:
    """Sweep over concurrencies (rates: over requests a second) against a Triton's gRPC; rows, and its own summary.

    leave: a folder for the inputs (MODEL.json) and tables (MODEL-LEVEL.csv), made where there is none; the command
    lines that ran are printed, and can be typed again. Without it nothing is left. Raises PeerMissing where there is
    no perf_analyzer, RuntimeError where a run failed.
    """
    program = binary()
    rows, summary = [], ""
    with contextlib.ExitStack() as stack:
        folder = leave or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        data = folder / f"{model}.json"
        data.write_text(json.dumps(input_data(model, clips, width)))
        for level in levels:
            table = folder / f"{model}-{level}.csv"
            table.unlink(missing_ok=True)
            command = [_path(program), "-m", model, "-i", "grpc", "-u", url, "--input-data", _path(data)]
            command += ["--request-rate-range" if rates else "--concurrency-range", str(level)]
            command += ["-f", _path(table), *options(model, window_ms)]
            if leave is not None:
                print(f"$ {shlex.join(command)}", flush=True)
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode or not table.is_file():
                raise RuntimeError(f"perf_analyzer on {model} failed: {(done.stdout + done.stderr)[-600:]}")
            with table.open(newline="") as file:
                rows += [_row(row, level) for row in csv.DictReader(file)]
            summary += _quoted(done.stdout)
    return rows, summary


def options(model: str, window_ms: int) -> list[str]:
    """How perf_analyzer measures a model, and asks it, in windows of so many milliseconds."""
    options = ["--measurement-interval", str(window_ms)]
    # Three windows count, however far apart they are: clips differ in length, and a shared machine from one moment to
    # the next.
    options += ["--stability-percentage", "999"]
    if model in DECOUPLED:
        options += ["--streaming", "--async"]
    if model == "asr_stream":
        # It waits for the end of a request before it sends the sequence's next one.
        options += ["--request-parameter", "hold:false:bool"]
    if model == "asr":
        options += ["--request-parameter", "vad:off:string"]
    return options


def _path(path: Path) -> str:
    """As it is typed from the current folder, with a slash, so that a shell takes it for a path."""
    here = Path.cwd()
    near = path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path
    return f"./{near}" if near.parent == Path() else str(near)


def _row(row: dict[str, str], level: int) -> Row:
    latencies = [float(row[f"p{percent} latency"]) / 1_000 for percent in (50, 90, 95, 99)]
    return Row(level, float(row["Inferences/Second"]), *latencies)


def _quoted(output: str) -> str:
    """The lines that its summary ends with."""
    return "".join(f"{line}\n" for line in output.splitlines() if line.startswith(("Concurrency:", "Request Rate:")))
