"""Plans are refused in words where they cannot run."""

import pytest
import torch

from export.commands import COMMANDS
from export.encoder.plan import FULL, SHORT, Here, PlanRecord, check_plan, here, profile_for, record_of, sha256
from export.encoder.tensorrt_builder import PRESETS, BuildOptions, build_plan
from export.errors import ExportError

RTX_4090 = Here("10.13.3", "NVIDIA GeForce RTX 4090", "8.9")


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "model.plan"
    path.write_bytes(b"a plan")
    (tmp_path / "model.onnx").write_bytes(b"a graph")
    record = PlanRecord(
        RTX_4090.tensorrt,
        RTX_4090.gpu,
        RTX_4090.capability,
        "fp16",
        "none",
        [],
        sha256(path),
        sha256(tmp_path / "model.onnx"),
        "",
    )
    record.write(path)
    return path


def test_a_plan_that_fits_is_told(plan):
    assert check_plan(plan, RTX_4090).precision == "fp16"


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (Here("10.14.1", RTX_4090.gpu, "8.9"), r"built by TensorRT 10\.13\.3; here is 10\.14\.1"),
        (Here("10.13.3", "NVIDIA H100", "9.0"), r"compute capability 8\.9 .*RTX 4090.*here is 9\.0"),
    ],
)
def test_another_tensorrt_or_gpu_is_refused_with_what_to_run(plan, now, message):
    with pytest.raises(ExportError, match=message) as refused:
        check_plan(plan, now)
    assert "python -m export tensorrt --onnx" in str(refused.value)


def test_files_that_do_not_belong_together_are_refused(plan):
    (plan.parent / "model.onnx").write_bytes(b"another graph")
    with pytest.raises(ExportError, match=r"another model\.onnx"):
        check_plan(plan, RTX_4090)
    plan.write_bytes(b"another plan")
    with pytest.raises(ExportError, match="not the file that its record describes"):
        check_plan(plan, RTX_4090)
    record_of(plan).write_text("{}")
    with pytest.raises(ExportError, match="no record of a plan"):
        check_plan(plan, RTX_4090)
    record_of(plan).unlink()
    with pytest.raises(ExportError, match="is missing"):
        check_plan(plan, RTX_4090)


def test_blocks_find_their_profile():
    assert profile_for(800) == 0
    assert [profile_for(frames) for frames in (100, 200, 700)] == [1, 1, 1]
    assert FULL.frames == (800, 800, 800)
    assert SHORT.frames[0] == 100
    assert PRESETS["rtx4090"].capability == "8.9"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_tensorrt_or_a_gpu_it_is_said_what_is_missing(tmp_path):
    for ask in (here, lambda: build_plan(tmp_path / "model.onnx", tmp_path / "model.plan", BuildOptions())):
        with pytest.raises(ExportError, match=r"TensorRT is not installed here|there is no GPU"):
            ask()


def test_every_command_explains_itself():
    for name, (summary, _, run) in COMMANDS.items():
        assert summary, name
        assert run.__doc__, name
