"""Triton's own perf_analyzer on our models: inputs from sound files, sweeps, and its summaries as tables."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.rooms import room
from perf.peers.environments import PeerMissing, environment

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


def binary() -> tuple[Path, dict[str, str]]:
    """perf_analyzer and the variables it runs with: the one on PATH (NVIDIA's SDK container has it), or one in an
    environment of its own. PeerMissing where there is neither."""
    found = shutil.which("perf_analyzer")
    if found:
        return Path(found), {}
    folder = environment("perf_analyzer")
    libraries = ":".join(str(path) for path in folder.glob("lib/python3*/site-packages/nvidia/*/lib"))
    variables = {"LD_LIBRARY_PATH": f"{libraries}:{os.environ.get('LD_LIBRARY_PATH', '')}"}
    path = folder / "bin" / "perf_analyzer"
    done = subprocess.run(
        [path, "--version"], env={**os.environ, **variables}, capture_output=True, text=True, timeout=30, check=False
    )
    if "error while loading shared libraries" in done.stderr:
        hint = " (Debian and Ubuntu: apt install libb64-0d)" if "libb64" in done.stderr else ""
        raise PeerMissing(f"perf_analyzer: {done.stderr.strip().splitlines()[-1]}{hint}")
    return path, variables


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
) -> tuple[list[Row], str]:
    """Sweep over concurrencies (rates: over requests a second) against a Triton's gRPC; rows, and its own summary.

    Raises PeerMissing where there is no perf_analyzer, RuntimeError where a run failed.
    """
    path, variables = binary()
    rows, summary = [], ""
    with tempfile.TemporaryDirectory() as name:
        data, table = Path(name) / "data.json", Path(name) / "table.csv"
        data.write_text(json.dumps(input_data(model, clips, width)))
        for level in levels:
            swept = "--request-rate-range" if rates else "--concurrency-range"
            command = [str(path), "-m", model, "-i", "grpc", "-u", url, "--input-data", str(data), swept, str(level)]
            command += ["-f", str(table), "--measurement-interval", str(window_ms)]
            # Three windows count, however far apart they are: clips differ in length, and a shared machine from one
            # moment to the next.
            command += ["--stability-percentage", "999"]
            if model in DECOUPLED:
                command += ["--streaming", "--async"]
            if model == "asr_stream":
                # It waits for the end of a request before it sends the sequence's next one.
                command += ["--request-parameter", "hold:false:bool"]
            if model == "asr":
                command += ["--request-parameter", "vad:off:string"]
            done = subprocess.run(
                command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=300, check=False
            )
            if done.returncode or not table.is_file():
                raise RuntimeError(f"perf_analyzer on {model} failed: {(done.stdout + done.stderr)[-600:]}")
            with table.open(newline="") as file:
                rows += [_row(row, level) for row in csv.DictReader(file)]
            table.unlink()
            summary += _quoted(done.stdout)
    return rows, summary


def _row(row: dict[str, str], level: int) -> Row:
    latencies = [float(row[f"p{percent} latency"]) / 1_000 for percent in (50, 90, 95, 99)]
    return Row(level, float(row["Inferences/Second"]), *latencies)


def _quoted(output: str) -> str:
    """The lines that its summary ends with."""
    return "".join(f"{line}\n" for line in output.splitlines() if line.startswith(("Concurrency:", "Request Rate:")))
