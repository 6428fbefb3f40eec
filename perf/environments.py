"""Peers and tools in environments of their own, made when they are first wanted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".cache" / "peers"
# perf_analyzer: this client's wheel carries a binary that runs on glibc before 2.38, and wants CUDA's runtime library.
REQUIREMENTS = {
    "perf_analyzer": [["--no-deps", "tritonclient==2.50.0", "nvidia-cuda-runtime-cu12"]],
    "qwen_asr": [["torch==2.13.0"], ["qwen-asr==0.0.6", "protobuf"]],
}


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
            _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *requirements], timeout_s)
    except (subprocess.SubprocessError, OSError) as error:
        raise PeerMissing(f"{name} cannot be installed: {error}") from error
    done.touch()
    return folder


def _run(command: list[str], timeout_s: float) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "WARNING" not in line]
        raise subprocess.SubprocessError(" ".join(errors[-2:]) or "pip failed")
