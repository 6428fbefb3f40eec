"""What pyproject.toml's extras install together."""

import ast
import contextlib
import importlib.metadata
import itertools
import re
import subprocess
import sys

import pytest
import tomllib

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
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


def closure(lines):
    """The names of what these requirements install, and of all that those ask for."""
    found, waiting = set(), list(lines)
    while waiting:
        line = waiting.pop()
        name = re.match(r"[A-Za-z0-9._-]+", line)[0].lower().replace("_", "-").replace(".", "-")
        # Of an extra's own requirements only those that are asked for, such as grpcio of tritonclient[grpc].
        asked = re.match(r"[A-Za-z0-9._-]+\[([^\]]+)\]", line)
        extras = asked[1].split(",") if asked else []
        if (name, tuple(extras)) in found:
            continue
        found.add((name, tuple(extras)))
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            for one in importlib.metadata.requires(name) or []:
                wants = re.search(r"extra == ['\"]([^'\"]+)['\"]", one)
                if wants is None or wants[1] in extras:
                    waiting.append(one)
    return {name for name, _ in found}


def imports(path):
    """What a file of ours imports when it is imported."""
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Import):
            yield from (one.name.partition(".")[0] for one in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            yield statement.module.partition(".")[0]


@pytest.mark.parametrize("module", ["perf.loads.commands", "perf.live_client", "perf.grpc_client"])
def test_the_clients_need_what_their_extra_installs(module):
    """They are installed by `.[clients]` where nothing serves: what else this environment has is not there."""
    code = f"import sys, {module}; print(*{{one.__file__ for one in sys.modules.values() if hasattr(one, '__file__')}})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    ours = [
        ROOT / name
        for folder in ("perf", "export", "frontend")
        for name in done.stdout.split()
        if f"{ROOT}/{folder}/" in name
    ]
    wanted = {name for path in ours for name in imports(path)} - sys.stdlib_module_names
    assert {"numpy", "tritonclient"} <= wanted
    installed = closure([*PROJECT["dependencies"], *EXTRAS["clients"]]) | {"qwen3-asr-triton"}
    # Several packages may share a folder, such as google/.
    owners = importlib.metadata.packages_distributions()
    missing = {
        name
        for name in wanted
        if name in owners and not {one.lower().replace("_", "-") for one in owners[name]} & installed
    }
    assert missing == set()
