"""The script by which a pod makes what it serves, with a `python3` that only writes down what it is asked."""

import os
import stat
import subprocess

import pytest

from tests.kubernetes.building import FOLDER

FILL = FOLDER / "base" / "models" / "fill.sh"


@pytest.fixture
def fill(tmp_path):
    """Runs it in a source tree of one file; check: a shell's, what `export check` says. Returns its status and what was
    asked."""
    source, programs = tmp_path / "source", tmp_path / "bin"
    (source / "model_repository" / "encoder" / "configs").mkdir(parents=True)
    (source / "model_repository" / "encoder" / "config.pbtxt").write_text("new")
    programs.mkdir()
    python = programs / "python3"
    python.write_text(
        '#!/bin/sh\necho "$*" >> "$ASKED"\n'
        'case "$3" in\n'
        'tensorrt) mkdir -p "$MODELS/encoder/1" && : > "$MODELS/encoder/1/model.plan";;\n'
        'check) sh -c "$CHECK" check "$@";;\n'
        "esac\n"
    )
    python.chmod(python.stat().st_mode | stat.S_IXUSR)

    def run(check, **variables):
        asked = tmp_path / "asked"
        asked.write_text("")
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "MODELS": str(tmp_path / "models"),
            "ASKED": str(asked),
            "CHECK": check,
            "CHECKPOINT": "Qwen/Qwen3-ASR-0.6B",
            "PROFILE": "tensorrt",
            "FAST_CHECKPOINT": "",
            "ALIGNER": "",
            **variables,
        }
        done = subprocess.run(["sh", str(FILL)], cwd=source, env=environment, check=False, timeout=60)
        return done.returncode, [line.removeprefix("-m export ") for line in asked.read_text().splitlines()]

    return run


# What `export check` says: of a profile without plans, and of one whose plan has to be there.
NO_PLANS = 'case "$*" in *--if-any*) ;; *) exit 1;; esac'
A_PLAN = 'test -f "$MODELS/encoder/1/model.plan"'


def commands(asked):
    return [line.split()[0] for line in asked if not line.startswith("check")]


def test_a_profile_without_plans_is_filled_by_ensure_alone(fill, tmp_path):
    status, asked = fill(NO_PLANS, PROFILE="cuda", ALIGNER="Qwen/Qwen3-ForcedAligner-0.6B")
    assert status == 0
    assert commands(asked) == ["ensure"]
    assert "--aligner Qwen/Qwen3-ForcedAligner-0.6B" in asked[0]
    assert (tmp_path / "models" / "encoder" / "config.pbtxt").read_text() == "new"


def test_a_plan_is_built_once(fill):
    status, asked = fill(A_PLAN)
    assert status == 0
    assert commands(asked) == ["ensure", "encoder", "tensorrt"]
    status, asked = fill(A_PLAN)
    assert (status, commands(asked)) == (0, ["ensure"])


def test_a_plan_of_another_gpu_is_built_again(fill, tmp_path):
    plan = tmp_path / "models" / "encoder" / "1" / "model.plan"
    plan.parent.mkdir(parents=True)
    plan.write_text("of another GPU")
    status, asked = fill('test -f "$MODELS/encoder/1/model.plan" && ! test -s "$MODELS/encoder/1/model.plan"')
    assert (status, commands(asked)) == (0, ["ensure", "encoder", "tensorrt"])


def test_a_second_engine_is_built_beside_a_plan_that_is_there(fill):
    fill(A_PLAN)
    status, asked = fill(A_PLAN, ALIGNER="Qwen/Qwen3-ForcedAligner-0.6B")
    assert (status, commands(asked)) == (0, ["ensure", "encoder", "tensorrt"])
    assert all("--aligner" in line for line in asked if not line.startswith("check"))


def test_a_failure_is_the_pods(fill):
    assert fill("exit 1")[0] == 1


def test_code_of_an_older_image_goes_and_what_was_exported_stays(fill, tmp_path):
    room = tmp_path / "models" / "encoder"
    (room / "1").mkdir(parents=True)
    (room / "1" / "old.py").write_text("")
    (room / "1" / "model.onnx").write_text("")
    (room / "1" / "link.py").symlink_to("../../nowhere.py")
    assert fill(NO_PLANS)[0] == 0
    assert sorted(path.name for path in (room / "1").iterdir()) == ["model.onnx"]


def test_an_aligner_that_is_named_no_more_is_served_no_more(fill, tmp_path):
    checkpoint = tmp_path / "models" / "aligner" / "1" / "checkpoint"
    checkpoint.mkdir(parents=True)
    assert fill(NO_PLANS, ALIGNER="an aligner")[0] == 0
    assert checkpoint.is_dir()
    assert fill(NO_PLANS)[0] == 0
    assert not checkpoint.exists()


def test_the_script_is_a_plain_shells():
    done = subprocess.run(["sh", "-n", str(FILL)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
