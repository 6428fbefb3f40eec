"""Plans are refused in words where they cannot run."""

from dataclasses import asdict

import pytest
import torch

from export.commands import COMMANDS
from export.encoder.plan import (
    FULL,
    PROFILES,
    SHORT,
    Here,
    PlanRecord,
    check_plan,
    here,
    profile_for,
    record_of,
    sha256,
)
from export.encoder.served_plans import max_batch_size
from export.encoder.tensorrt_builder import PRESETS, BuildOptions, build_plan, require_blocks
from export.errors import ExportError
from export.rooms import MODEL_REPOSITORY, room

RTX_4090 = Here("10.13.3", "NVIDIA GeForce RTX 4090", "8.9")


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "encoder" / "1" / "model.plan"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"a plan")
    path.with_name("model.onnx").write_bytes(b"a graph")
    record = PlanRecord(
        RTX_4090.tensorrt,
        RTX_4090.gpu,
        RTX_4090.capability,
        "fp16",
        "none",
        [asdict(profile) for profile in PROFILES],
        sha256(path),
        sha256(path.with_name("model.onnx")),
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
    assert "`python -m export tensorrt --repository" in str(refused.value)


@pytest.mark.parametrize(
    ("place", "command"),
    [
        ("encoder/1", "tensorrt"),
        ("encoder/2", "tensorrt --version 2"),
        ("encoder_fast/1", "tensorrt --fast"),
        ("encoder_fast/3", "tensorrt --fast --version 3"),
    ],
)
def test_the_advice_builds_that_plan_and_no_other(place, command, monkeypatch, tmp_path):
    missing = MODEL_REPOSITORY / place / "no.plan"
    with pytest.raises(ExportError, match=f"by `python -m export {command}`"):
        check_plan(missing, RTX_4090)
    with pytest.raises(ExportError, match=f"by `python -m export {command} --repository {tmp_path}`"):
        check_plan(tmp_path / place / "no.plan", RTX_4090)
    # In a container the advice is for its host, where the repository is elsewhere.
    monkeypatch.setenv("ASR_EXPORT_COMMAND", "docker compose run --rm exporter")
    with pytest.raises(ExportError, match=f"by `docker compose run --rm exporter {command}`"):
        check_plan(tmp_path / place / "no.plan", RTX_4090)


def test_a_plan_takes_all_the_blocks_that_its_configuration_promises(plan):
    promised = max_batch_size(MODEL_REPOSITORY, "encoder")
    assert promised == max_batch_size(MODEL_REPOSITORY, "encoder_fast") == 32
    for preset in PRESETS.values():
        require_blocks(preset.options, promised)
    with pytest.raises(ExportError, match="max_batch_size 32, and Triton loads no plan that takes fewer"):
        require_blocks(BuildOptions(max_blocks=16), promised)
    with pytest.raises(ExportError, match="the graph takes 64"):
        require_blocks(BuildOptions(max_blocks=128), promised)
    check_plan(plan, RTX_4090, 32)
    with pytest.raises(ExportError, match="takes 32 blocks at once; its configuration promises 64"):
        check_plan(plan, RTX_4090, 64)


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
    live = room("asr_stream", "utterance").LENGTHS
    assert [profile_for(frames) for frames in live] == [1, 1, 0]
    assert FULL.frames == (800, 800, 800)
    # No larger than what a live stream sends: a context's memory goes with it.
    assert SHORT.frames == (100, min(live), sorted(live)[-2])
    with pytest.raises(ExportError, match=r"blocks of 800 frames, or of 100 to 400, not 700"):
        profile_for(700)
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
