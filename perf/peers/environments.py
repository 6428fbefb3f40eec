"""Peers and tools in environments of their own, made when they are first wanted."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from export import vllm
from export.errors import ExportError

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "peers"
# perf_analyzer: this client's wheel carries a binary that runs on glibc before 2.38, and wants CUDA's runtime library.
REQUIREMENTS = {
    "perf_analyzer": [["--no-deps", "tritonclient==2.50.0", "nvidia-cuda-runtime-cu12"]],
    "qwen_asr": [["torch==2.13.0"], ["qwen-asr==0.0.6", "protobuf"]],
    "pyannote": [["pyannote.metrics==4.2.0"]],
}


class PeerMissing(RuntimeError):
    """A peer cannot be installed or run here; the message says why."""


def environment(name: str, timeout_s: float = 900.0) -> Path:
    """The folder of the environment `name`; PeerMissing where it cannot be made."""
    if name == "vllm":
        return _vllm(timeout_s)
    folder = FOLDER / name
    done = folder / ".installed"
    if done.exists():
        return folder
    print(f"Installing {name} into {folder} ...", flush=True)
    try:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)], timeout_s)
        for requirements in REQUIREMENTS[name]:
            _install(folder, requirements, timeout_s)
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


def _vllm(timeout_s: float) -> Path:
    """The one in which it decodes for us, too."""
    if not any(vllm.FOLDER.glob(".installed-*")):
        print(f"Installing vllm into {vllm.FOLDER} ...", flush=True)
        try:
            vllm.install("cpu", timeout_s=timeout_s)
        except ExportError as error:
            raise PeerMissing(str(error)) from error
    return vllm.FOLDER


def prepare(names: Iterable[str] = (*REQUIREMENTS, "vllm")) -> None:
    """Make environments side by side; why one cannot be made is told to whoever asks for it."""

    def make(name: str) -> None:
        with contextlib.suppress(PeerMissing):
            environment(name)

    with ThreadPoolExecutor() as pool:
        list(pool.map(make, names))


def _install(folder: Path, requirements: list[str], timeout_s: float) -> None:
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile"]
    _run([*pip, *requirements], timeout_s)


def _run(command: list[str], timeout_s: float) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "WARNING" not in line]
        raise subprocess.SubprocessError(" ".join(errors[-2:]) or "pip failed")
