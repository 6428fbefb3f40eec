"""The command that the server's container starts with, run in a shell with stand-ins for what only a GPU host has."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from export.rooms import MODEL_REPOSITORY
from tests.conftest import ROOT

# What it was called with, and what it would have seen of the GPUs.
STAND_IN = """#!/bin/sh
echo "$(basename "$0") $* sees=$CUDA_VISIBLE_DEVICES pipes=$CUDA_MPS_PIPE_DIRECTORY logs=$CUDA_MPS_LOG_DIRECTORY"
exit ${FAILS:-0}
"""


def command():
    """The last CMD of the stage `server`, as Docker reads it: lines joined, then json."""
    text = (ROOT / "Dockerfile.triton").read_text().split(" AS exporter")[0]
    return json.loads(text[text.rindex("\nCMD [") :].removeprefix("\nCMD ").split("]\n")[0].replace("\\\n", "") + "]")


@pytest.fixture
def start(tmp_path):
    """Runs it with stand-ins on PATH; returns what they said, and the finished process."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").symlink_to(sys.executable)

    def start(*stand_ins, **variables):
        for name in ("tritonserver", *stand_ins):
            (folder / name).write_text(STAND_IN)
            (folder / name).chmod(0o755)
        # PATH ends with the shell's own tools; of this machine's environment nothing else.
        environment = {
            "PATH": f"{folder}:/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path),
            "MODELS": str(MODEL_REPOSITORY),
            "PROFILE": "cuda",
            "LOAD": "",
            "GPUS": "1",
            "MPS": "0",
        }
        done = subprocess.run(
            command(), env={**environment, **variables}, capture_output=True, text=True, timeout=60, check=False
        )
        said = [line.split(" ", 1) for line in done.stdout.splitlines() if " sees=" in line]
        return dict(said), done

    return start


def test_it_loads_what_the_profile_needs_on_the_first_gpus(start):
    said, done = start(GPUS="2")
    assert done.returncode == 0, done.stderr
    assert list(said) == ["tritonserver"]
    assert f"--model-repository={MODEL_REPOSITORY} --model-control-mode=explicit" in said["tritonserver"]
    models = "--load-model=asr --load-model=asr_step --load-model=asr_stream"
    assert f"--model-config-name=cuda {models}" in said["tritonserver"]
    assert "sees=0,1 pipes= logs=" in said["tritonserver"]


def test_mps_is_started_before_the_server_which_counts_its_gpus_anew(start):
    said, done = start("nvidia-cuda-mps-control", MPS="1", CUDA_VISIBLE_DEVICES="3,5")
    assert done.returncode == 0, done.stderr
    assert list(said) == ["nvidia-cuda-mps-control", "tritonserver"]
    daemon, server = said.values()
    assert daemon.startswith("-d sees=3,5 pipes=/")
    # The daemon numbers what it sees from 0; both speak by the same folder, which is of this start alone.
    assert "sees=0,1 pipes=/" in server
    assert daemon.split("pipes=")[1] == server.split("pipes=")[1]
    again, _ = start("nvidia-cuda-mps-control", MPS="1")
    assert again["tritonserver"].split("pipes=")[1] != server.split("pipes=")[1]


def test_mps_that_is_asked_for_and_not_there_is_told(start):
    said, done = start(MPS="1")
    assert done.returncode == 1
    assert not said
    assert done.stderr == "error: MPS=1, but the driver brings no nvidia-cuda-mps-control into this container\n"


def test_a_daemon_that_does_not_start_stops_the_server(start):
    said, done = start("nvidia-cuda-mps-control", MPS="1", FAILS="1")
    assert done.returncode == 1
    assert "tritonserver" not in said
    assert "error: MPS=1, but its daemon does not start" in done.stderr


def test_compose_hands_the_wish_on_and_asks_for_nothing_by_itself():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert services["triton"]["environment"]["MPS"] == "${MPS:-0}"
    assert "MPS" not in services["triton-cpu"]["environment"]
