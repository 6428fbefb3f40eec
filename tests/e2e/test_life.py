"""Settings, limits, and what happens when a part dies."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from frontend.triton.process import free_port
from perf.service import running_service
from tests.conftest import RECORDINGS, ROOT


def transcribe(url, timeout=60):
    return httpx.post(
        f"{url}/v1/audio/transcriptions",
        files={"file": (RECORDINGS / "english.flac").read_bytes()},
        data={"model": "whisper-1"},
        timeout=timeout,
    )


def test_a_frontend_beside_another_triton(service, tmp_path):
    """By address: no child, and the other service's Triton answers."""
    url = httpx.get(f"{service.url}/health", timeout=30).json()["triton"]["url"]
    with running_service(ASR_TRITON_URL=url, ASR_SERVED_MODEL_NAME="digits", ASR_CACHE_DIR=str(tmp_path)) as other:
        assert transcribe(other.url).json()["text"] == "four two seven nine zero one five"
        assert httpx.get(f"{other.url}/health", timeout=30).json()["model"] == "digits"
        assert other.tritons() == []


def test_limits_of_upload_and_length(service, tmp_path):
    url = httpx.get(f"{service.url}/health", timeout=30).json()["triton"]["url"]
    limits = {"ASR_MAX_AUDIO_SECONDS": "2", "ASR_MAX_UPLOAD_MB": "0.5"}
    with running_service(ASR_TRITON_URL=url, ASR_CACHE_DIR=str(tmp_path), **limits) as small:
        too_long = transcribe(small.url)
        assert too_long.status_code == 413
        assert "longer than 2 s" in too_long.json()["error"]["message"]
        for size in (700_000, 3_000_000):
            answer = httpx.post(
                f"{small.url}/v1/audio/transcriptions",
                files={"file": os.urandom(size)},
                data={"model": "whisper-1"},
                timeout=30,
            )
            assert answer.status_code == 413
            assert "larger than" in answer.json()["error"]["message"]


def test_triton_is_started_again_when_it_dies(tmp_path):
    with running_service(ASR_CACHE_DIR=str(tmp_path)) as running:
        (child,) = running.tritons()
        child.send_signal(signal.SIGKILL)
        # A request in the meantime waits, or is told to come back; none hangs.
        deadline = time.monotonic() + 60
        answer = transcribe(running.url)
        while answer.status_code != 200 and time.monotonic() < deadline:
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"]
            time.sleep(0.2)
            answer = transcribe(running.url)
        assert answer.json()["text"] == "four two seven nine zero one five"


def test_a_signal_ends_everything(tmp_path):
    with running_service(ASR_CACHE_DIR=str(tmp_path)) as running:
        family = psutil.Process(running.pid).children(recursive=True)
        assert family
    assert not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in family)
    assert list(Path("/dev/shm").glob(f"qwen3_asr_{running.pid}_*")) == []


@pytest.mark.parametrize(
    ("environment", "code", "message"),
    [
        ({"ASR_PORT": "70000"}, 2, "ASR_PORT"),
        ({"ASR_LOG_LEVEL": "loud"}, 2, "ASR_LOG_LEVEL"),
        ({"ASR_MODEL_REPOSITORY": "/nowhere"}, 2, "error: there is no model repository at /nowhere\n"),
        ({"ASR_API_KEYS": "secret"}, 2, 'error: ASR_API_KEYS: \'secret\' is not a JSON list, such as ["one", "two"]\n'),
        ({"ASR_MODEL_CONFIG_NAME": "fast"}, 2, "these can: default, speculative, two_sizes\n"),
        ({"ASR_MODEL_CONFIG_NAME": "tensorrt"}, 2, "encoder wants tensorrt"),
        ({"ASR_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": ""}, 2, "no GPU can be used"),
    ],
)
def test_a_start_that_cannot_work_ends_with_the_reason(tmp_path, environment, code, message):
    done = subprocess.run(
        [sys.executable, "-m", "frontend"],
        cwd=ROOT,
        env={**os.environ, "ASR_PORT": str(free_port()), "ASR_CACHE_DIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code
    assert message in done.stderr + done.stdout


def test_the_frontend_imports_nothing_heavy():
    heavy = ["torch", "transformers", "onnxruntime", "scipy", "av"]
    # Of the wording, which not everybody asks for.
    heavy += ["wetext", "kaldifst", "pypinyin", "jellyfish", "rapidfuzz", "httpx"]
    code = f"import sys, frontend.__main__; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "[]"
