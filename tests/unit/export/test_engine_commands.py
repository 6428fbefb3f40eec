"""`tensorrt`, `quantize` and `check` on a repository: which files they take, and what they say where they stop."""

import shutil
import subprocess
import sys

import pytest

from export.encoder.onnx_file import read_properties
from export.rooms import MODEL_REPOSITORY
from tests.conftest import RECORDINGS, ROOT


@pytest.fixture
def repository(tmp_path):
    """Both encoders as they are in git: code and configurations, nothing exported."""
    copy = tmp_path / "model_repository"
    for room in ("encoder", "encoder_fast"):
        left_out = shutil.ignore_patterns("__pycache__", "*.onnx", "*.plan", "[2-9]", "warmup")
        shutil.copytree(MODEL_REPOSITORY / room, copy / room, symlinks=True, ignore=left_out)
    return copy


@pytest.fixture
def export(repository):
    def export(command, *options, modules=False):
        words = [
            sys.executable,
            *(["-X", "importtime"] if modules else []),
            "-m",
            "export",
            command,
            *map(str, options),
        ]
        return subprocess.run(
            [*words, "--repository", str(repository)],
            cwd=ROOT, capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip

    return export


def put(graph, repository, place):
    (repository / place).mkdir(exist_ok=True)
    shutil.copyfile(graph, repository / place / "model.onnx")


def test_a_plan_is_made_of_its_own_versions_graph(repository, encoders, export):
    put(encoders.path("fp32"), repository, "encoder/1")
    put(encoders.path("fp16"), repository, "encoder/2")
    put(encoders.path("fp16"), repository, "encoder_fast/1")
    own = export("tensorrt", "--dry-run", "--version", "2")
    assert own.stdout.startswith(f"{repository}/encoder/2/model.onnx: TensorRT has every operator"), own.stderr
    fast = export("tensorrt", "--dry-run", "--fast", "--version", "7")
    assert "version 7 has no model.onnx of its own: from" in fast.stdout
    assert f"{repository}/encoder_fast/1/model.onnx: TensorRT has every operator" in fast.stdout
    assert not (repository / "encoder_fast" / "7").exists()


def test_a_plan_in_float32_is_warned_of(repository, encoders, export):
    put(encoders.path("fp32"), repository, "encoder/2")
    done = export("tensorrt", "--dry-run", "--version", "2")
    assert done.returncode == 0
    warning = done.stdout.splitlines()[0]
    assert warning.startswith("warning: ")
    words = f"`python -m export encoder CHECKPOINT --precision fp16 --version 2 --repository {repository}` first"
    assert words in warning
    # A real build is refused, on any machine, before a GPU is looked for.
    refused = export("tensorrt", "--version", "2")
    assert refused.returncode == 1
    assert words in refused.stderr
    assert "--fp32 where you mean it" in refused.stderr


def test_a_missing_graph_is_told_with_the_command_that_makes_it(repository, export):
    done = export("tensorrt", "--dry-run", "--fast", "--version", "2")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {repository}/encoder_fast/2/model.onnx is missing")
    assert "`python -m export encoder CHECKPOINT --fast --version 2" in done.stderr


def test_a_plan_that_triton_would_not_load_is_not_built(repository, encoders, export):
    put(encoders.path("fp16"), repository, "encoder/1")
    done = export("tensorrt", "--dry-run", "--max-blocks", "16")
    assert done.returncode == 1
    assert "a plan of 16 blocks is too small: the tensorrt configurations have max_batch_size 32" in done.stderr


def test_quantizing_a_version_leaves_the_others(repository, encoders, export):
    put(encoders.path("fp32"), repository, "encoder/1")
    done = export("quantize", "--version", "2", "--speech", RECORDINGS)
    assert done.returncode == 0, done.stderr
    assert "version 2 has no model.onnx of its own: from" in done.stdout
    assert "quantization" not in read_properties(repository / "encoder" / "1" / "model.onnx")
    assert read_properties(repository / "encoder" / "2" / "model.onnx")["quantization"] == "int8"
    again = export("quantize", "--version", "2", "--speech", RECORDINGS)
    assert again.returncode == 1
    assert (
        "is quantized already (int8): export it again by `python -m export encoder CHECKPOINT --version 2"
        in again.stderr
    )


def test_without_recordings_speech_has_to_be_named(tmp_path, monkeypatch):
    from export.commands import comparing
    from export.errors import ExportError

    class Arguments:
        speech = None

    assert comparing.speech_of(Arguments())
    elsewhere = tmp_path / "site-packages" / "perf" / "recordings"
    monkeypatch.setattr(comparing, "RECORDINGS", (elsewhere, comparing.RECORDINGS[1]))
    monkeypatch.chdir(ROOT)
    assert comparing.speech_of(Arguments())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportError, match="name a folder of sound files, or a manifest, with --speech"):
        comparing.speech_of(Arguments())


def test_a_server_is_not_stopped_by_plans_that_it_does_not_load(repository, export):
    for place in ("encoder/1", "encoder_fast/1"):
        (repository / place / "model.plan").write_bytes(b"of another machine")
    for profile in ("", "onnx_cpu", "no_such_profile"):
        done = export("check", "--if-any", "--profile", profile, modules=True)
        assert done.returncode == 0, done.stderr
        assert "loads no plans: nothing to check" in done.stdout
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert not imported & {"torch", "onnx", "tensorrt"}
    done = export("check")
    assert done.returncode == 1
    assert done.stderr == "error: the default profile loads no plans\n"


def test_a_plan_that_a_profile_loads_is_checked(repository, export):
    missing = export("check", "--if-any", "--profile", "tensorrt")
    assert missing.returncode == 1
    assert missing.stderr.startswith(
        f"error: {repository}/encoder/1/model.plan is missing: build it on the GPU that serves"
    )
    (repository / "encoder" / "1" / "model.plan").write_bytes(b"")
    done = export("check", "--if-any", "--profile", "tensorrt")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_versions_are_those_that_the_server_loads(repository):
    from export.encoder.served_plans import served_plans

    def versions(policy):
        path = repository / "encoder" / "configs" / "mine.pbtxt"
        path.write_text(f'backend: "tensorrt" max_batch_size: 8 {policy}')
        found = [one for one in served_plans(repository, "mine") if not one.is_optional]
        assert all(one.max_batch_size == 8 for one in found)
        return [int(one.plan.parent.name) for one in found]

    for version in ("2", "10"):
        (repository / "encoder" / version).mkdir()
    assert versions("") == [10]
    assert versions("version_policy: { latest: { num_versions: 2 } }") == [2, 10]
    assert versions("version_policy: { all: {} }") == [1, 2, 10]
    assert versions("version_policy: { specific: { versions: [2, 4] } }") == [2]
