"""Processes of models that are gone, by real ones, children of this one as those of Triton are; and who is told."""

import asyncio
import os
import subprocess
import sys
import time

import grpc
import pytest

from export.rooms import room

processes = room("asr_stream", "processes")
wire = room("asr_stream", "wire")
rooms = room("asr_stream", "rooms")


@pytest.fixture
def start(tmp_path):
    """Starts a process that a model might be, and returns when the kernel knows it by its name."""
    started = []

    def begin(model):
        path = tmp_path / model / "1" / "model.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("print(flush=True)\nimport time\ntime.sleep(60)\n")
        started.append(subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE))
        started[-1].stdout.readline()
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_process_that_dies_is_gone_until_a_whole_look_has_seen_another(start):
    looking = processes.Processes(os.getpid())
    first, _ = start("decoder"), start("encoder")
    assert looking.gone({"decoder", "encoder"}) == set()
    first.kill()
    first.wait()
    for _ in range(2):
        assert looking.gone({"decoder", "encoder"}) == {"decoder"}
    start("decoder")
    # What was asked before this look may have been asked of the one that died.
    assert looking.gone({"decoder", "encoder"}) == {"decoder"}
    assert looking.gone({"decoder", "encoder"}) == set()


def test_one_of_two_processes_that_dies_is_gone_and_the_other_is_not(start):
    looking = processes.Processes(os.getpid())
    first, _ = start("encoder"), start("encoder")
    assert looking.gone({"encoder"}) == set()
    first.kill()
    # Nobody waits for it: it stays as a zombie.
    while looking.gone({"encoder"}) != {"encoder"}:
        time.sleep(0.01)
    assert looking.gone({"encoder"}) == set()


def test_who_was_never_seen_is_not_judged(start):
    looking = processes.Processes(os.getpid())
    start("decoder").kill()
    assert looking.gone({"in-the-server", "decoder"}) == set()
    assert processes.Processes(1).gone({"decoder"}) == set()


async def test_only_those_are_told_who_asked_this_model_before():
    channel = grpc.aio.insecure_channel("127.0.0.1:1")
    made = wire.Wire(channel, "x")
    waiting = {}
    for name, model, asked in (("1", "step", 1.0), ("2", "align", 1.0), ("3", "step", 3.0)):
        waiting[name] = asyncio.get_running_loop().create_future()
        made._waiting[name] = wire._Waiting(waiting[name], model, asked)
    assert made.asked() == {"step", "align"}
    made.give_up("step", 2.0, "it is gone")
    assert [name for name, future in waiting.items() if future.done()] == ["1"]
    with pytest.raises(rooms.RoomFailed, match="it is gone"):
        await waiting["1"]
    await channel.close()
