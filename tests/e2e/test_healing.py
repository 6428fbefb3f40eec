"""Processes that are killed come back by themselves, and nobody's file is lost."""

import asyncio
import signal
import time

import httpx
import psutil
import pytest

from perf.service import running_service
from tests.conftest import RECORDINGS

TEXT = "four two seven nine zero one five"


@pytest.fixture(scope="module")
def healing(tmp_path_factory):
    with running_service(ASR_CACHE_DIR=str(tmp_path_factory.mktemp("cache"))) as running:
        yield running


def process_of(service, model):
    """The process that runs a model."""
    for process in psutil.Process(service.pid).children(recursive=True):
        with_arguments = process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else []
        if any(argument.endswith(f"/{model}/1/model.py") for argument in with_arguments):
            return process
    raise AssertionError(f"{model} has no process")


async def files_until(client, done):
    """Files one after the other until told; returns their answers."""
    content = (RECORDINGS / "english.flac").read_bytes()
    answers = []
    while not done.is_set() or not answers:
        form = {"files": {"file": content}, "data": {"model": "whisper-1"}}
        answers.append(await client.post("/v1/audio/transcriptions", **form))
    return answers


@pytest.mark.parametrize(
    ("model", "number"),
    [
        ("vad", signal.SIGKILL),
        ("encoder", signal.SIGSTOP),
        ("decoder", signal.SIGKILL),
        ("asr_stream", signal.SIGKILL),
    ],
)
async def test_a_lost_process_is_seen_and_healed_and_no_file_is_lost(healing, model, number):
    done = asyncio.Event()
    async with httpx.AsyncClient(base_url=healing.url, timeout=60) as client:
        before = (await client.get("/health")).json()["healed"].get(model, 0)
        files = [asyncio.create_task(files_until(client, done)) for _ in range(4)]
        process_of(healing, model).send_signal(number)
        started = time.monotonic()
        seen = None
        while (health := (await client.get("/health")).json())["healed"].get(model, 0) == before:
            assert time.monotonic() - started < 30, health
            seen = seen or (time.monotonic() - started if health["status"] != "ready" else None)
            await asyncio.sleep(0.1)
        while (await client.get("/health/ready")).status_code != 200:
            assert time.monotonic() - started < 30
            await asyncio.sleep(0.05)
        print(f"{model}: seen after {seen:.1f} s, healed after {time.monotonic() - started:.1f} s")
        assert seen is not None, "it was called ready all the while"
        done.set()
        answers = [answer for several in await asyncio.gather(*files) for answer in several]
        assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
        assert {answer.json()["text"] for answer in answers} == {TEXT}
        health = (await client.get("/health")).json()
        assert "lost" not in health
        assert health["healed"][model] == before + 1
