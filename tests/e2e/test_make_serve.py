"""`make serve CHECKPOINT=…` as it is typed, in a clone of its own: a hub that breaks off once, and what serves then."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from frontend.triton.process import free_port
from tests.conftest import ROOT, TINY
from tests.unit.export.hub_server import Hub, serving


@pytest.fixture
def clone(tmp_path):
    """What is committed or about to be, beside the environment that is installed already."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = ROOT / name, tmp_path / "clone" / name
        if source.exists() or source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    (tmp_path / "clone" / ".venv").symlink_to(Path(sys.prefix))
    # Of two exports that take a while one is there already.
    fast = Path("model_repository") / "decoder_fast" / "1" / "checkpoint"
    shutil.copytree(ROOT / fast, tmp_path / "clone" / fast)
    graph = Path("model_repository") / "encoder_fast" / "1" / "model.onnx"
    shutil.copy2(ROOT / graph, tmp_path / "clone" / graph)
    return tmp_path / "clone"


@pytest.mark.timeout(240)
def test_the_checkpoint_that_is_named_is_the_one_that_is_served(clone, tmp_path):
    port = free_port()
    installed = next(Path(sys.prefix).glob(".installed-*"), None)
    if installed is None:
        pytest.skip("the environment was not made by `make setup`")
    log_path = tmp_path / "log"
    with serving(Hub({"acme/heard": TINY}, cuts=1)) as hub, log_path.open("wb") as log:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "ASR_"))}
        environment |= {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "cache"),
            "NO_PROXY": "127.0.0.1",
            "ASR_PORT": str(port),
            "ASR_TRITON_GRPC_PORT": "0",
        }
        # The environment is not made again for a younger pyproject.toml.
        command = ["make", f"--assume-old=.venv/{installed.name}", f"EXTRA={installed.name.partition('-')[2]}"]
        make = subprocess.Popen(
            [*command, "serve", "CHECKPOINT=acme/heard"],
            cwd=clone, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            until_ready(f"http://127.0.0.1:{port}", make, log_path)
            served = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=10))
            assert served["data"][0]["id"] == "heard"
            assert len(hub.ranges("model.safetensors")) == 2
            stamp = json.loads((clone / "model_repository/decoder/1/checkpoint/export.json").read_text())
            assert stamp["source"] == "acme/heard"
            # The line is written by whoever asked for readiness last: it may come after our own answer.
            said = until_said("heard is ready at", log_path)
            assert "Serving on" in said
        finally:
            os.killpg(make.pid, signal.SIGTERM)
            make.wait(60)


def until_said(words, log_path):
    deadline = time.monotonic() + 30
    while words not in (said := log_path.read_text()):
        if time.monotonic() > deadline:
            pytest.fail(f"{words!r} is not said:\n{said[-3000:]}")
        time.sleep(0.1)
    return said


def until_ready(url, make, log_path):
    deadline = time.monotonic() + 200
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        if make.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"make serve is not ready:\n{log_path.read_text()[-3000:]}")
        time.sleep(0.2)
