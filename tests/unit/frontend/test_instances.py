"""Processes of models, by real processes: children of this one, as Triton's are of Triton."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from frontend.triton import instances as instances_module
from frontend.triton.instances import Instances, kill, processes_wanted

WAITS = "import time\nwhile True:\n    time.sleep(0.05)\n"
COMPUTES = "while True:\n    pass\n"


@pytest.fixture
def start(tmp_path):
    """Starts a process that a model might be."""
    started = []

    def begin(model, code=WAITS):
        path = tmp_path / model / "1" / "model.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
        started.append(subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE))
        return started[-1]

    yield begin
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


@pytest.fixture
def wanted():
    return {"vad": 1, "asr_stream": 2, "encoder": 0}


@pytest.fixture
def instances(wanted):
    async def of(model):
        return wanted[model]

    return Instances(os.getpid, of)


async def seen(instances, model):
    """Until all of its processes have begun, which is not when they are forked."""
    async with asyncio.timeout(20):
        while model not in instances._seen:
            assert not await instances.lacking([model])
            await asyncio.sleep(0.02)


async def lacking(instances, model):
    async with asyncio.timeout(20):
        while not (found := await instances.lacking([model])):
            await asyncio.sleep(0.02)
    return found


async def whole(instances, model):
    async with asyncio.timeout(20):
        while await instances.lacking([model]):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_dead_or_stopped_process_is_lacking_until_another_is_there(start, instances, number):
    process = start("vad")
    await seen(instances, "vad")
    process.send_signal(number)
    assert await lacking(instances, "vad") == {"vad": "its process"}
    instances.retire("vad")
    start("vad")
    await whole(instances, "vad")


async def test_one_of_two_is_lacking_although_the_other_lives(start, instances):
    start("asr_stream")
    victim = start("asr_stream")
    await seen(instances, "asr_stream")
    victim.kill()
    assert await lacking(instances, "asr_stream") == {"asr_stream": "1 of its 2 processes"}


async def test_what_was_unloaded_and_stands_still_is_no_process_of_the_model(start, instances):
    start("vad")
    await seen(instances, "vad")
    instances.retire("vad")
    fresh = start("vad")
    await whole(instances, "vad")
    fresh.kill()
    assert await lacking(instances, "vad") == {"vad": "its process"}


async def test_a_model_that_was_loaded_with_fewer_processes_lacks_none(start, instances, wanted):
    start("asr_stream")
    victim = start("asr_stream")
    await seen(instances, "asr_stream")
    wanted["asr_stream"] = 1
    victim.kill()
    victim.wait()
    assert not await instances.lacking(["asr_stream"])


async def test_processes_that_cannot_be_seen_are_not_missed(instances):
    """Of a Triton in another container, or a model that lives in the server's own process."""
    for _ in range(3):
        assert not await instances.lacking(["vad", "encoder"])
    assert instances.still_s("vad") == 0.0


@pytest.mark.parametrize("code", [WAITS, COMPUTES])
async def test_who_waits_stands_still_and_who_computes_does_not(start, instances, code):
    start("vad", code)
    await seen(instances, "vad")
    most = 0.0
    began = time.monotonic()
    while time.monotonic() - began < 3.0:
        await asyncio.sleep(0.25)
        await instances.lacking(["vad"])
        most = max(most, instances.still_s("vad"))
        if code is WAITS and most > 1.0:
            break
    assert (most > 1.0) == (code is WAITS)


def test_python_models_alone_have_processes_of_their_own():
    assert processes_wanted("python", [(2, 0)]) == 2
    assert processes_wanted("python", [(1, 2), (1, 0)]) == 3
    assert processes_wanted("tensorrt", [(1, 1)]) == 0
    assert processes_wanted("", []) == 0


async def test_of_two_only_the_one_that_is_stopped_stands_still(start, instances):
    stopped, _ = start("asr_stream"), start("asr_stream")
    await seen(instances, "asr_stream")
    stopped.send_signal(signal.SIGSTOP)
    await lacking(instances, "asr_stream")
    assert [pid for pid, _ in await instances.standing("asr_stream")] == [stopped.pid]


async def test_the_same_where_they_were_never_seen_whole(start, instances):
    working, stopped = start("asr_stream"), start("asr_stream")
    stopped.send_signal(signal.SIGSTOP)
    async with asyncio.timeout(20):
        while working.pid not in instances._living:
            assert not await instances.lacking(["asr_stream"])
            await asyncio.sleep(0.02)
    # It may have been stopped before it was a model's at all.
    assert working.pid not in [pid for pid, _ in await instances.standing("asr_stream")]


BEGINS_ANOTHER = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True).pid, flush=True)
time.sleep(600)
"""


async def test_where_none_is_stopped_all_stand_still_with_what_they_have_begun_and_no_other_models(start, instances):
    first, other = start("asr_stream", BEGINS_ANOTHER), start("vad")
    begun = psutil.Process(int(await asyncio.to_thread(first.stdout.readline)))
    deaf = [first, start("asr_stream")]
    await seen(instances, "asr_stream")
    await seen(instances, "vad")
    standing = await instances.standing("asr_stream")
    assert {pid for pid, _ in standing} == {*(one.pid for one in deaf), begun.pid}
    for one in standing:
        kill(*one)
    assert [one.wait(10) for one in deaf] == [-signal.SIGKILL] * 2
    psutil.wait_procs([begun], timeout=10)
    assert not begun.is_running()
    assert other.poll() is None


@pytest.mark.parametrize("has_descriptors", [True, False])
def test_another_process_of_the_same_number_is_not_killed(start, monkeypatch, has_descriptors):
    if not has_descriptors:
        monkeypatch.setattr(os, "pidfd_open", lambda pid: (_ for _ in ()).throw(OSError(38, "not here")))
    process = start("vad")
    kill(process.pid, "1")
    time.sleep(0.1)
    assert process.poll() is None
    kill(process.pid, instances_module._stat(process.pid)[instances_module.STARTED])
    assert process.wait(10) == -signal.SIGKILL
    kill(process.pid, "1")


async def test_what_was_unloaded_is_killed_when_it_has_computed_nothing_for_long(start, instances, monkeypatch):
    monkeypatch.setattr(instances_module, "RETIRED_S", 0.3)
    working, waiting = start("vad", COMPUTES), start("asr_stream")
    start("asr_stream")
    await seen(instances, "vad")
    await seen(instances, "asr_stream")
    for model in ("vad", "asr_stream"):
        instances.retire(model)
    async with asyncio.timeout(20):
        while waiting.poll() is None:
            instances.end_retired()
            await asyncio.sleep(0.05)
    assert working.poll() is None
