"""A service of two processes: one to its clients, whichever of them answers."""

import asyncio
import contextlib
import json
import signal
import time

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from perf.service import running_service
from tests.conftest import RECORDINGS

# The suite of live speech, here.
from tests.e2e.test_live import *  # noqa: F403
from tests.e2e.test_live import ENGLISH, feed, s16
from tests.endings import ended_later

KEY = "a-key-of-more-than-16-letters"


@pytest.fixture(scope="module", name="service")
def _service(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("cache"))
    with ended_later(running_service(ASR_CACHE_DIR=cache, ASR_PROCESSES="2")) as running:
        yield running


@pytest.fixture(scope="module", name="openai_client")
def _no_other_service():
    raise AssertionError("it asks another service")


@pytest.fixture(scope="module", name="async_openai_client")
async def _async_openai_client(service):
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def bounded(service, tmp_path_factory):
    """Two processes more, on the same Triton, with few places."""
    bounds = {
        "ASR_TRITON_URL": service.health()["triton"]["url"],
        "ASR_CACHE_DIR": str(tmp_path_factory.mktemp("bounded")),
        "ASR_PROCESSES": "2",
        "ASR_MAX_LIVE_SESSIONS": "6",
        "ASR_API_KEYS": json.dumps([KEY]),
        "ASR_REQUESTS_PER_MINUTE": "30",
    }
    with running_service(**bounds) as running:
        yield running


def workers_of(service):
    """The processes that serve; the master beside them does not."""
    return [one for one in psutil.Process(service.pid).children() if "frontend.workers.worker" in one.cmdline()]


def transcribe(service, client=httpx):
    file = (RECORDINGS / "english.flac").read_bytes()
    return client.post(
        f"{service.url}/v1/audio/transcriptions", files={"file": file}, data={"model": "whisper-1"}, timeout=60
    )


def metrics(service):
    lines = httpx.get(f"{service.url}/metrics", timeout=30).text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_every_process_answers_and_any_of_them_tells_the_sum(service):
    name = 'asr_frontend_request_seconds_count{method="POST",route="/v1/audio/transcriptions",status="200"}'
    before = metrics(service).get(name, 0.0)
    shares = {one.pid: one.cpu_times().user for one in workers_of(service)}
    assert len(shares) == 2
    # Each on a connection of its own.
    assert {transcribe(service).json()["text"] for _ in range(24)} == {ENGLISH}
    assert {metrics(service)[name] - before for _ in range(8)} == {24.0}
    assert all(one.cpu_times().user > shares[one.pid] for one in workers_of(service))


async def test_live_sessions_are_bounded_and_counted_over_all_processes(bounded):
    url = bounded.url.replace("http", "ws") + "/ws/transcribe"
    headers = {"Authorization": f"Bearer {KEY}"}
    async with contextlib.AsyncExitStack() as open_sockets:
        for _ in range(6):
            await open_sockets.enter_async_context(connect(url, additional_headers=headers))
        for _ in range(6):
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, additional_headers=headers)
            assert refused.value.response.status_code == 503
        for _ in range(4):
            assert metrics(bounded)["asr_frontend_live_sessions"] == 6
            assert bounded.health()["live_sessions"] == 6
    async with asyncio.timeout(30):
        while metrics(bounded)["asr_frontend_live_sessions"]:
            await asyncio.sleep(0.1)


def test_a_keys_requests_a_minute_are_counted_over_all_processes(bounded):
    headers = {"Authorization": f"Bearer {KEY}"}
    # Each on a connection of its own.
    statuses = [httpx.get(f"{bounded.url}/v1/models", headers=headers, timeout=30).status_code for _ in range(60)]
    # Other tests have asked as well, and a place comes free every two seconds.
    assert set(statuses) == {200, 429}
    assert statuses.count(200) < 60 - 20


async def test_a_process_that_dies_is_started_again_and_takes_nothing_along(service, english):
    dying, other = workers_of(service)
    url = service.url.replace("http", "ws") + "/ws/transcribe"
    before = metrics(service)["asr_frontend_audio_seconds_total"]
    async with contextlib.AsyncExitStack() as open_sockets:
        sockets = [await open_sockets.enter_async_context(connect(url)) for _ in range(16)]
        dying.send_signal(signal.SIGKILL)
        died_at = time.monotonic()
        texts = await asyncio.gather(*(said(one, english) for one in sockets), return_exceptions=True)
    kept = [text for text in texts if not isinstance(text, BaseException)]
    # Those of the other process go on.
    assert 0 < len(kept) < 16
    assert {tuple(text) for text in kept} == {(ENGLISH,)}
    async with asyncio.timeout(30):
        while len(workers_of(service)) < 2 or metrics(service)["asr_frontend_live_sessions"]:
            await asyncio.sleep(0.1)
    assert other.pid in {one.pid for one in workers_of(service)}
    for _ in range(8):
        assert transcribe(service).json()["text"] == ENGLISH
    assert metrics(service)["asr_frontend_audio_seconds_total"] > before
    assert time.monotonic() - died_at < 120


async def said(socket, english):
    heard = asyncio.create_task(finals_of(socket))
    await feed(socket, s16(english))
    await socket.send('{"action": "end"}')
    return await asyncio.wait_for(heard, 60)


async def finals_of(socket):
    events = [json.loads(message) async for message in socket]
    assert events[-1]["type"] == "closed"
    return [event["text"] for event in events if event["type"] == "final"]


@pytest.mark.slow
def test_a_process_that_hangs_is_replaced(tmp_path):
    with running_service(ASR_CACHE_DIR=str(tmp_path), ASR_PROCESSES="2") as running:
        hanging, other = workers_of(running)
        hanging.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 60
        while hanging.is_running() and time.monotonic() < deadline:
            time.sleep(0.2)
        while len(workers_of(running)) < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert hanging.pid not in {one.pid for one in workers_of(running)}
        assert other.pid in {one.pid for one in workers_of(running)}
        assert {transcribe(running).json()["text"] for _ in range(8)} == {ENGLISH}


def test_triton_that_dies_is_started_again_for_all_processes(tmp_path):
    with running_service(ASR_CACHE_DIR=str(tmp_path), ASR_PROCESSES="2") as running:
        (triton,) = running.tritons()
        triton.send_signal(signal.SIGKILL)
        for _ in range(6):
            deadline = time.monotonic() + 60
            answer = transcribe(running)
            while answer.status_code == 503 and time.monotonic() < deadline:
                time.sleep(0.2)
                answer = transcribe(running)
            assert answer.json()["text"] == ENGLISH


def test_triton_is_given_up_when_no_process_works(tmp_path):
    settings = {"ASR_LOAD": "first_request", "ASR_IDLE_TIMEOUT": "0.6", "ASR_PROCESSES": "2"}
    with running_service(ASR_CACHE_DIR=str(tmp_path), **settings) as running:
        assert running.health()["status"] == "asleep"
        for pause_s in (0.62, 0.7, 0.58):
            assert transcribe(running).json()["text"] == ENGLISH
            time.sleep(pause_s)
        deadline = time.monotonic() + 20
        while running.tritons() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert running.tritons() == []
        assert running.health()["status"] == "asleep"


async def test_a_signal_gives_the_live_speech_of_all_processes_its_final(tmp_path, english):
    with running_service(ASR_CACHE_DIR=str(tmp_path), ASR_PROCESSES="2") as running:
        family = psutil.Process(running.pid).children(recursive=True)
        url = running.url.replace("http", "ws") + "/ws/transcribe"
        async with contextlib.AsyncExitStack() as open_sockets:
            sockets = [await open_sockets.enter_async_context(connect(url)) for _ in range(6)]
            heard = [asyncio.create_task(finals_of(one)) for one in sockets]
            await asyncio.gather(*(feed(one, s16(english[:56_000])) for one in sockets))
            psutil.Process(running.pid).send_signal(signal.SIGTERM)
            for finals in await asyncio.wait_for(asyncio.gather(*heard), 60):
                assert finals[0].startswith("four two seven nine")
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family)


def test_workers_end_with_a_master_that_is_killed(tmp_path):
    with running_service(ASR_CACHE_DIR=str(tmp_path), ASR_PROCESSES="2") as running:
        family = psutil.Process(running.pid).children(recursive=True)
        psutil.Process(running.pid).send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []
