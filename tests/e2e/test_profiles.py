"""Every profile that this machine can serve, started as the README types it: a file and a live stream go through."""

import asyncio
import json
import re
import socket
import subprocess
import sys

import httpx
import pytest
from websockets.asyncio.client import connect

from frontend.triton.process import free_port
from frontend.triton.profiles import Server, named, runnable
from frontend.triton.startup import EMBEDDED_BACKENDS
from perf.service import running_service
from tests.conftest import RECORDINGS, ROOT
from tests.e2e.test_live import ENGLISH, events_of, feed, s16

# By the checkpoint that speaks the partials, and whether a draft checkpoint guesses tokens.
PROFILES = {"default": ("accurate", False), "speculative": ("accurate", True), "two_sizes": ("fast", False)}


def counted(metrics, name):
    """Sum of a counter over Triton's models."""
    return sum(float(value) for value in re.findall(rf"^asr_decoder_{name}_total{{.*}} (\S+)$", metrics, re.MULTILINE))


async def live(url, pcm):
    async with connect(url.replace("http", "ws") + "/ws/transcribe", max_size=None) as ws:
        listening = asyncio.create_task(events_of(ws))
        await ws.send(json.dumps({"action": "config", "partial_interval_ms": 200}))
        await feed(ws, s16(pcm), chunk=3_200, pause_s=0.02)
        await ws.send(json.dumps({"action": "end"}))
        return await asyncio.wait_for(listening, 30)


def test_every_profile_that_can_be_served_here_is_tried():
    known = runnable(ROOT / "model_repository", Server(EMBEDDED_BACKENDS, "no GPU"))
    assert sorted(map(named, known)) == sorted(PROFILES)


@pytest.mark.parametrize("profile", PROFILES)
async def test_a_file_and_a_live_stream_by_every_profile(tmp_path, english, profile):
    speaker, drafts = PROFILES[profile]
    with running_service(ASR_CACHE_DIR=str(tmp_path), ASR_MODEL_CONFIG_NAME=profile) as running:
        assert running.log_path.read_text().startswith("Serving on the CPU (")
        health = running.health()
        assert health["profile"] == profile
        assert all(health["needed"].values())
        assert "asr_step_fast" in health["needed"] or speaker == "accurate"
        with (RECORDINGS / "english.flac").open("rb") as file:
            answer = httpx.post(
                f"{running.url}/v1/audio/transcriptions", files={"file": file}, data={"model": "whisper-1"}, timeout=30
            )
        assert answer.json()["text"] == ENGLISH
        events = await live(running.url, english)
        partials = [event for event in events if event["type"] == "partial"]
        assert len(partials) >= 3
        assert {event["checkpoint"] for event in partials} == {speaker}
        assert [event["text"] for event in events if event["type"] == "final"] == [ENGLISH]
        assert events[-1]["type"] == "closed"
        if drafts:
            metrics = await asyncio.to_thread(_settled, health["triton"]["metrics"])
            assert counted(metrics, "accepted_tokens") > 0.5 * counted(metrics, "drafted_tokens") > 0


def _settled(url):
    """Triton's metrics; the decoder publishes its counts twice a second."""
    for _ in range(100):
        metrics = httpx.get(url, timeout=10).text
        if counted(metrics, "drafted_tokens"):
            break
    return metrics


def test_two_frontends_share_the_usual_port_and_say_who_has_it(tmp_path):
    """The first one gets the port that is asked for, the second a free one, and both tell where they are."""
    wanted = free_port()
    starts = [
        running_service(ASR_CACHE_DIR=str(tmp_path / name), ASR_TRITON_GRPC_PORT=str(wanted)) for name in ("one", "two")
    ]
    with starts[0] as one, starts[1] as two:
        urls = [service.health()["triton"]["url"] for service in (one, two)]
        assert f"127.0.0.1:{wanted}" in urls
        assert len(set(urls)) == 2
        assert f"port {wanted} is taken: Triton's gRPC is at {urls[1]}" in two.log_path.read_text()
        done = subprocess.run(
            [sys.executable, "-m", "perf.grpc_client", urls[0], str(RECORDINGS / "english.flac")],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout.strip()) == (0, ENGLISH)


@pytest.mark.parametrize("client", ["grpc_client", "live_client"])
def test_our_clients_tell_in_one_line_that_nobody_answers(client):
    with socket.socket() as taken:
        # Bound, and nobody listens: nobody else can begin to meanwhile.
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", f"perf.{client}", address, str(RECORDINGS / "english.flac")],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: no server answers at {address}: start one with `make serve`")
    assert done.stderr.count("\n") == 1
