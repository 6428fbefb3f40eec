"""What pyproject.toml's extras install together."""

import contextlib
import importlib.metadata
import itertools
import re

import pytest
import tomllib

from tests.conftest import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
# One of these serves; the others come beside it.
SERVING = ("cpu", "cuda", "rtx")
BESIDE = [extra for extra in EXTRAS if extra not in SERVING]
ONNX_RUNTIMES = {"onnxruntime", "onnxruntime-gpu"}


def names(*extras):
    return [re.match(r"[A-Za-z0-9._-]+", line)[0].lower() for extra in extras for line in EXTRAS[extra]]


@pytest.mark.parametrize("serving", SERVING)
def test_one_onnxruntime_is_installed_whatever_comes_beside(serving):
    """Both write the same folder: the one that comes last breaks the other."""
    for count in range(len(BESIDE) + 1):
        for beside in itertools.combinations(BESIDE, count):
            found = ONNX_RUNTIMES & set(names(serving, *beside))
            assert found == {"onnxruntime-gpu" if serving == "cuda" else "onnxruntime"}, (serving, *beside)


def test_nothing_that_is_installed_brings_onnxruntime_along():
    """What an extra names may ask for it in turn; what is installed without its dependencies may not matter."""
    named = {name for extra in EXTRAS for name in names(extra)} - {"qwen3-asr-triton"}
    asking = []
    for name in named:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            lines = importlib.metadata.requires(name) or []
            asking += [name for line in lines if re.match(r"onnxruntime\b(?!-)", line) and "extra ==" not in line]
    assert asking == []


def test_every_way_of_serving_has_the_same_torch():
    assert len({line for extra in SERVING for line in EXTRAS[extra] if line.startswith("torch==")}) == 1


@pytest.mark.parametrize("extra", ["cuda", "rtx"])
def test_gpu_builds_are_of_one_cuda(extra):
    """PyTorch from PyPI is CUDA 13; ONNX Runtime's GPU build is since 1.28, and the plugin says so by its name."""
    lines = [line for line in EXTRAS[extra] if line.startswith(("onnxruntime-gpu", "onnxruntime-ep"))]
    assert (
        lines
        == {
            "cuda": ["onnxruntime-gpu[cuda,cudnn]>=1.28,<1.32"],
            "rtx": ["onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0"],
        }[extra]
    )


def test_the_commands_install_exactly_one_way_of_serving():
    text = "".join((ROOT / name).read_text() for name in ("Makefile", "Dockerfile.triton"))
    for extras in re.findall(r"'?\"?\.\[([^\]]+)\]", text):
        chosen = [one for one in extras.split(",") if one in SERVING or "EXTRA" in one]
        assert len(chosen) == 1, extras
