"""A Triton that heals itself, as its container runs it, and ends where it has to be started anew."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from frontend.triton.client import TritonClient
from frontend.triton.process import EmbeddedTriton
from frontend.triton.status import Status
from perf.chaos.victims import processes_of
from tests.integration.repositories import REPOSITORY

MODELS = ("vad", "features")
IN_TIME_S = 60


@pytest.fixture
def start(settings, tmp_path):
    """Starts a supervised server with the two models that are there soonest; gives its process and its address.
    instances: of `vad`."""
    started = []

    async def begin(instances=1):
        repository = tmp_path / "repository"
        (repository / "vad").mkdir(parents=True)
        (repository / "features").symlink_to(REPOSITORY / "features")
        (repository / "vad" / "1").symlink_to(REPOSITORY / "vad" / "1")
        config = (REPOSITORY / "vad" / "config.pbtxt").read_text()
        assert "count: 1" in config
        (repository / "vad" / "config.pbtxt").write_text(config.replace("count: 1", f"count: {instances}"))
        key = tmp_path / "key"
        update = {"model_repository": repository, "triton_control_key_file": key, "triton_grpc_port": 0}
        triton = EmbeddedTriton(settings.model_copy(update=update), MODELS)
        environment = {"ASR_TRITON_URL": triton.url, "ASR_TRITON_CONTROL_KEY_FILE": str(key)}
        environment |= {"ASR_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-m", "frontend.triton.supervisor", *triton.command()]
        log = (tmp_path / "log").open("ab")
        process = subprocess.Popen(command, env={**triton.environment(), **environment}, stdout=log, stderr=log)
        started.append(process)
        async with client_of(triton.url) as client:
            await until(lambda: client.is_ready("vad"))
            await until(lambda: client.is_ready("features"))
        await until(lambda: b"watching the models" in (tmp_path / "log").read_bytes())
        # It has seen them whole.
        await asyncio.sleep(1.0)
        return process, triton.url

    yield begin
    for process in started:
        process.terminate()
        process.wait(IN_TIME_S)


class client_of(TritonClient):
    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()


def are_left(pids):
    """Of processes, whether each is more than a number that nobody has asked for."""
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            yield psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def until(condition):
    deadline = time.monotonic() + IN_TIME_S
    while True:
        found = condition()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_one_dead_process_of_two_is_found_although_nobody_asks_and_the_other_answers(start, number):
    process, url = await start(instances=2)
    before = {one.pid for one in processes_of(process.pid, "vad")}
    assert len(before) == 2
    hurt = min(before)
    psutil.Process(hurt).send_signal(number)
    await until(lambda: len({one.pid for one in processes_of(process.pid, "vad")} - before) == 2)
    async with client_of(url) as client:
        await until(lambda: client.is_ready("vad"))
    assert process.poll() is None
    # What stands still would keep its memory for as long as the server lives.
    await until(lambda: not any(are_left([hurt])))


async def test_a_probe_is_told_what_it_finds(start, tmp_path):
    process, url = await start()

    async def told():
        command = [sys.executable, "-m", "frontend.triton.status"]
        environment = {**os.environ, "ASR_CACHE_DIR": str(tmp_path)}
        done = await asyncio.to_thread(
            subprocess.run, command, env=environment, capture_output=True, check=False, text=True
        )
        return done.returncode, done.stdout

    async def is_well():
        return await told() == (0, "healthy\n")

    await until(is_well)
    processes_of(process.pid, "vad")[0].send_signal(signal.SIGKILL)
    # While it is loaded again, not only afterwards.
    await until(lambda: "vad: " in Status(tmp_path).trouble())
    assert b"vad is back" not in (tmp_path / "log").read_bytes()
    await until(is_well)
    async with client_of(url) as client:
        assert await client.is_ready("vad")
    process.send_signal(signal.SIGSTOP)
    (tmp_path / "watcher.json").write_text('{"at": 0, "trouble": ""}')
    try:
        code, said = await told()
    finally:
        process.send_signal(signal.SIGCONT)
    assert code == 1
    assert "has not looked for" in said


async def test_it_ends_as_it_is_told_and_leaves_nothing(start):
    process, _ = await start()
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 3
    process.terminate()
    assert await asyncio.to_thread(process.wait, IN_TIME_S) == 0
    psutil.wait_procs(children, timeout=IN_TIME_S)
    assert not [child for child in children if child.is_running()]


async def test_a_server_that_hangs_ends_it_so_that_it_is_started_anew(start, tmp_path):
    process, _ = await start()
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    for name in ("triton", "vad"):
        processes_of(process.pid, name)[0].send_signal(signal.SIGSTOP)
    assert await asyncio.to_thread(process.wait, IN_TIME_S) == 1
    assert b"has to be started anew" in (tmp_path / "log").read_bytes()
    await until(lambda: not any(are_left(children)))


async def test_the_servers_own_end_is_its_end(start):
    process, _ = await start()
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    processes_of(process.pid, "triton")[0].kill()
    assert await asyncio.to_thread(process.wait, IN_TIME_S) == 128 + signal.SIGKILL
    await until(lambda: not any(are_left(children)))
