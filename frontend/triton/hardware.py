"""The NVIDIA GPU of this machine, and whether what is installed can use it. Standard library only.

`make setup` asks before anything is installed:
python -m frontend.triton.hardware extra      `cuda` or `cpu`: the extra that suits this machine
python -m frontend.triton.hardware            the same in a sentence
"""

from __future__ import annotations

import csv
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# PyTorch 2.13 and ONNX Runtime's GPU builds from PyPI are CUDA 13: they want this driver, and Turing or newer.
MIN_DRIVER = 580
# Of onnxruntime-gpu since 1.28.
MIN_PYTHON = (3, 11)
MIN_CAPABILITY = (7, 5)
FIELDS = ("index", "uuid", "name", "driver_version", "memory.total", "memory.free", "compute_cap")
QUERY = ("nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits")
# A driver that hangs must not keep the server from starting on the CPU.
QUERY_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Gpu:
    """One device as the driver sees it; memory in MiB, capability as (major, minor)."""

    index: int
    uuid: str
    name: str
    driver: str
    memory_mb: int
    free_mb: int
    capability: tuple[int, int]

    @property
    def summary(self) -> str:
        major, minor = self.capability
        return (
            f"{self.name} (GPU {self.index}, {self.memory_mb / 1024:.0f} GB of memory, {self.free_mb / 1024:.1f} free, "
            f"compute capability {major}.{minor}, driver {self.driver})"
        )


@dataclass(frozen=True)
class Verdict:
    """The GPU to serve on, or in words why there is none."""

    gpu: Gpu | None
    reason: str


@dataclass(frozen=True)
class Host:
    """verdict: the GPU that the decoder can use. onnxruntime_gpu: whether the encoder can, by ONNX Runtime's CUDA."""

    verdict: Verdict
    onnxruntime_gpu: bool = False


def parse(answer: str) -> list[Gpu]:
    """The GPUs of nvidia-smi's answer; a line that says not what a GPU says (a device that fell off) is left out."""
    found = []
    for row in csv.reader(answer.splitlines(), skipinitialspace=True):
        try:
            index, uuid, name, driver, total, free, capability = (field.strip() for field in row)
            major, minor = capability.split(".")
            found.append(Gpu(int(index), uuid, name, driver, int(total), int(free), (int(major), int(minor))))
        except ValueError:
            continue
    return found


def visible(gpus: list[Gpu], environment: Mapping[str, str]) -> list[Gpu]:
    """Those that CUDA_VISIBLE_DEVICES leaves to this process, in its order: CUDA's own number 0 first."""
    wanted = environment.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return gpus
    chosen: list[Gpu] = []
    for name in (part.strip() for part in wanted.split(",")):
        by_uuid = name.startswith("GPU-")
        match = [gpu for gpu in gpus if name == str(gpu.index) or (by_uuid and gpu.uuid.startswith(name))]
        if not match:
            # As CUDA reads it: what follows an unknown device is not seen either.
            break
        chosen += match
    return chosen


def machine_verdict(gpus: list[Gpu] | str, environment: Mapping[str, str]) -> Verdict:
    """Whether CUDA 13 builds can run on the first GPU. gpus: those there are, or in words why they are not known."""
    if isinstance(gpus, str):
        return Verdict(None, gpus)
    seen = visible(gpus, environment)
    if not seen and "MIG-" in environment.get("CUDA_VISIBLE_DEVICES", ""):
        return Verdict(None, "CUDA_VISIBLE_DEVICES names a part of a GPU (MIG), which is not looked at: use containers")
    if not seen:
        hidden = "CUDA_VISIBLE_DEVICES hides every NVIDIA GPU" if gpus else "nvidia-smi shows no GPU that works"
        return Verdict(None, hidden)
    gpu = seen[0]
    if gpu.capability < MIN_CAPABILITY:
        return Verdict(None, f"{gpu.summary} is older than CUDA 13 supports (compute capability 7.5, Turing)")
    if int(gpu.driver.split(".")[0]) < MIN_DRIVER:
        return Verdict(None, f"{gpu.summary} needs driver {MIN_DRIVER} or newer for CUDA 13")
    return Verdict(gpu, gpu.summary)


def installed_verdict(machine: Verdict, torch_cuda: str | None) -> Verdict:
    """Whether the installed PyTorch can use the machine's GPU. torch_cuda: the CUDA version it was built for."""
    if machine.gpu is None or torch_cuda is not None:
        return machine
    lack = "the PyTorch that is installed is a build without CUDA (`make setup` installs the extra `cuda`)"
    return Verdict(None, f"{machine.reason} is there, but {lack}")


def query() -> list[Gpu] | str:
    """The GPUs that nvidia-smi, which comes with every driver, tells of; or why there are none."""
    try:
        done = subprocess.run(QUERY, capture_output=True, text=True, timeout=QUERY_TIMEOUT_S, check=False)
    except FileNotFoundError:
        return "no NVIDIA driver was found (there is no nvidia-smi)"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nvidia-smi does not work here: {error}"
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        return f"nvidia-smi finds no GPU: {said[0] if said else f'it ended with {done.returncode}'}"
    return parse(done.stdout)


def torch_cuda_version() -> str | None:
    """The CUDA version that the installed PyTorch was built for, read without importing it; None without CUDA."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name("version.py")
    said = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = re.search(r"^cuda\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", said, re.MULTILINE)
    return found[1] if found else None


def has_onnxruntime_gpu() -> bool:
    """Whether it is there, and not overwritten by the package for CPUs, which writes the same folder."""
    return _is_installed("onnxruntime-gpu") and not _is_installed("onnxruntime")


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def available_memory_gb() -> float:
    """What programs can still take of this machine's memory; 0 where it does not say."""
    path = Path("/proc/meminfo")
    found = re.search(r"^MemAvailable:\s+(\d+) kB", path.read_text() if path.is_file() else "", re.MULTILINE)
    return int(found[1]) / 2**20 if found else 0.0


def inspect() -> Host:
    """This machine and what is installed in this environment."""
    verdict = installed_verdict(machine_verdict(query(), os.environ), torch_cuda_version())
    return Host(verdict, has_onnxruntime_gpu())


def main(arguments: list[str]) -> int:
    verdict = machine_verdict(query(), os.environ)
    if verdict.gpu and sys.version_info < MIN_PYTHON:
        verdict = Verdict(None, f"{verdict.reason} is there, but ONNX Runtime's CUDA 13 build wants Python 3.11")
    if arguments == ["extra"]:
        print("cuda" if verdict.gpu else "cpu")
    else:
        print(f"{'GPU' if verdict.gpu else 'CPU only'}: {verdict.reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
