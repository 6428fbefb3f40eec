"""Processes of models that are gone, by real ones, children of this one as those of Triton are; and who is told."""

import asyncio
import math
import os
import signal
import subprocess
import sys
import time

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from export.rooms import room

processes = room("asr_stream", "processes")
losses = room("asr_stream", "losses")
parameters = room("asr_stream", "parameters")
rooms = room("asr_stream", "rooms")
triton_rooms = room("asr_stream", "triton_rooms")
wire = room("asr_stream", "wire")


@pytest.fixture
def start(tmp_path):
    """Starts a process that a model's instance might be, and returns when the kernel knows it by its name."""
    started = []

    def begin(model, number=0):
        path = tmp_path / model / "1" / "model.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("print(flush=True)\nimport time\ntime.sleep(60)\n")
        words = [str(path), "region", "1048576", "1048576", "1", "python", "336", f"{model}_0_{number}", "DEFAULT"]
        started.append(subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE))
        started[-1].stdout.readline()
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def looking(monkeypatch):
    """Those of this process; whoever begins a tenth of a second later than another of its name replaces it."""
    monkeypatch.setattr(processes, "APART_S", 0.1)
    monkeypatch.setattr(processes, "SEARCH_S", 0.0)
    monkeypatch.setattr(processes, "STOPPED_S", 0.2)
    return processes.Processes(os.getpid())


def later():
    """Once the kernel's clock, of which a process has its beginning, says another time than now."""
    time.sleep(0.15)
    return time.monotonic()


def test_a_process_that_dies_is_gone_until_another_has_begun(start, looking):
    first, _ = start("decoder"), start("encoder")
    assert looking.gone({"decoder", "encoder"}) == {}
    first.kill()
    first.wait()
    for _ in range(2):
        before = time.monotonic()
        gone = looking.gone({"decoder", "encoder"})
        assert gone.keys() == {"decoder"}
        assert gone["decoder"] >= before
    before = later()
    start("decoder")
    after = time.monotonic()
    # What was asked before may have been asked of the one that died, and what was asked since is the other one's.
    gone = looking.gone({"decoder", "encoder"})
    assert gone.keys() == {"decoder"}
    assert before - 0.02 <= gone["decoder"] <= after
    assert looking.gone({"decoder", "encoder"}) == {}


def test_what_was_asked_of_one_that_was_loaded_again_unseen_is_not_lost(start, looking):
    first = start("decoder")
    assert looking.gone({"decoder"}) == {}
    first.kill()
    first.wait()
    later()
    start("decoder")
    asked = later()
    # Nobody looked meanwhile: nobody waited.
    assert looking.gone({"decoder"})["decoder"] < asked
    assert looking.gone({"decoder"}) == {}


def test_one_of_two_processes_that_dies_is_gone_and_the_other_is_not(start, looking):
    first, _ = start("encoder"), start("encoder", 1)
    assert looking.gone({"encoder"}) == {}
    first.kill()
    # Nobody waits for it: it stays as a zombie.
    while looking.gone({"encoder"}).keys() != {"encoder"}:
        time.sleep(0.01)
    assert looking.gone({"encoder"}) == {}


def test_processes_of_other_instances_are_no_replacement_however_late_they_begin(start, looking):
    start("encoder")
    assert looking.gone({"encoder"}) == {}
    later()
    start("encoder", 1)
    for _ in range(3):
        assert looking.gone({"encoder"}) == {}


def test_whoever_begins_at_about_the_same_time_is_no_replacement(start, looking, monkeypatch):
    """Of one instance on each of two GPUs, which have one name."""
    monkeypatch.setattr(processes, "APART_S", 60.0)
    start("encoder")
    second = start("encoder")
    assert looking.gone({"encoder"}) == {}
    second.kill()
    second.wait()
    before = time.monotonic()
    assert looking.gone({"encoder"})["encoder"] >= before


def test_one_that_lives_on_is_gone_once_another_has_taken_its_place(start, looking):
    """It stands still, and was loaded again: Triton does not wait until it has ended."""
    start("decoder")
    assert looking.gone({"decoder"}) == {}
    before = later()
    second = start("decoder")
    gone = looking.gone({"decoder"})
    assert before - 0.02 <= gone["decoder"] <= time.monotonic()
    assert looking.gone({"decoder"}) == {}
    second.kill()
    second.wait()
    assert looking.gone({"decoder"}).keys() == {"decoder"}, "it has no process although an earlier one lives"


def test_one_that_is_stopped_for_more_than_a_moment_is_gone_until_it_goes_on(start, looking):
    process = start("decoder")
    assert looking.gone({"decoder"}) == {}
    process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    while not (gone := looking.gone({"decoder"})):
        assert time.monotonic() - began < 20
        time.sleep(0.01)
    assert gone["decoder"] >= began + 0.2
    process.send_signal(signal.SIGCONT)
    asked = time.monotonic()
    # What it was asked it answers now.
    while any(until >= asked for until in looking.gone({"decoder"}).values()):
        assert time.monotonic() - began < 20
        asked = time.monotonic()
    assert looking.gone({"decoder"}) == {}


def test_a_model_without_a_process_is_gone_where_those_of_others_are_seen(start, looking):
    """It and this room died together, and this room is back first."""
    start("asr_stream")
    before = time.monotonic()
    gone = looking.gone({"decoder"})
    assert gone.keys() == {"decoder"}
    assert gone["decoder"] >= before
    start("decoder")
    asked = later()
    assert looking.gone({"decoder"})["decoder"] < asked
    assert looking.gone({"decoder"}) == {}


def test_where_no_process_can_be_seen_nobody_is_judged(start, looking):
    start("decoder").kill()
    assert looking.gone({"encoder", "decoder"}) == {}
    assert processes.Processes(1).gone({"decoder"}) == {}


def test_where_folders_do_not_have_the_names_of_their_models_nobody_is_judged(tmp_path, start, looking):
    """Triton copies a repository that is not on its disk to folders of other names."""
    start("folder").kill()
    path = tmp_path / "folder" / "1" / "model.py"
    words = [str(path), "region", "1048576", "1048576", "1", "python", "336", "asr_stream_0_0", "DEFAULT"]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert looking.gone({"decoder"}) == {}
        process.kill()


async def test_only_those_are_told_who_asked_this_model_before():
    channel = grpc.aio.insecure_channel("127.0.0.1:1")
    made = wire.Wire(channel, "x")
    waiting = {}
    for name, model, asked in (("1", "step", 1.0), ("2", "align", 1.0), ("3", "step", 3.0)):
        waiting[name] = asyncio.get_running_loop().create_future()
        made._waiting[name] = wire._Waiting(waiting[name], model, asked)
    assert made.asked() == {"step", "align"}
    made.give_up("step", 2.0, {"decoder"})
    assert [name for name, future in waiting.items() if future.done()] == ["1"]
    with pytest.raises(rooms.RoomFailed, match="the process of decoder is gone"):
        await waiting["1"]
    await channel.close()


class Silent(service_pb2_grpc.GRPCInferenceServiceServicer):
    """A server that answers no request, with the ensemble of an encoder that has no process and a decoder."""

    def __init__(self):
        self.told = []

    async def ModelStreamInfer(self, requests, context):
        async for request in requests:
            self.told.append(request)
            yield service_pb2.ModelStreamInferResponse()

    async def ModelConfig(self, request, context):
        answer = service_pb2.ModelConfigResponse()
        answer.config.name = request.name
        if request.name == "asr_step":
            for name in ("encoder", "decoder"):
                answer.config.ensemble_scheduling.step.add().model_name = name
        else:
            answer.config.backend = "python" if request.name == "decoder" else "onnxruntime"
        return answer


@pytest.fixture
async def silent():
    """The server, and its address."""
    server, answering = grpc.aio.server(), Silent()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(answering, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield answering, f"127.0.0.1:{port}"
    await server.stop(None)


QUESTION = rooms.Question(np.zeros((1, 128, 200), np.float32), np.full((1, 1), 200, np.int32), 0.0)


@pytest.mark.parametrize("lost", ["encoder", "decoder"])
async def test_a_decoder_that_lives_is_told_that_nobody_waits_for_what_another_lost(silent, lost):
    """It may compute already what is asked of it again; of one that is dead Triton takes a second for each request."""
    answering, url = silent
    made = triton_rooms.TritonRooms(url, parameters.Parameters(), "x")
    asked = asyncio.create_task(made.step(QUESTION, fast=False))
    async with asyncio.timeout(20):
        while not answering.told:
            await asyncio.sleep(0.01)
        made._wire.give_up("asr_step", math.inf, {lost})
        with pytest.raises(rooms.RoomFailed, match=f"asr_step: the process of {lost} is gone"):
            await asked
        made.end_session("last", fast=False)
        while answering.told[-1].parameters["end_session"].string_param != "last":
            await asyncio.sleep(0.01)
    await made.close()
    cancelled = [request.parameters["cancel"].string_param for request in answering.told[1:-1]]
    assert cancelled == ([answering.told[0].id] if lost == "encoder" else [])


async def test_requests_are_given_up_for_processes_and_none_for_who_has_no_process(silent, start, looking, monkeypatch):
    """The decoder was loaded again while nobody waited; the encoder is in the server's own process."""
    _, url = silent
    monkeypatch.setattr(losses, "LOOK_S", 0.05)
    first = start("decoder")
    assert looking.gone({"decoder"}) == {}
    first.kill()
    first.wait()
    later()
    second = start("decoder")
    later()
    channel = grpc.aio.insecure_channel(url)
    made = wire.Wire(channel, "x")
    watching = asyncio.create_task(losses.Losses(channel, made, looking).watch())
    request = triton_rooms._request("asr_step", FRAMES=QUESTION.frames)
    asked = asyncio.create_task(made.ask(request, 60.0))
    try:
        await asyncio.wait([asked], timeout=1.0)
        assert not asked.done()
        second.kill()
        with pytest.raises(rooms.RoomFailed, match="the process of decoder is gone"):
            await asyncio.wait_for(asked, 20)
    finally:
        watching.cancel()
        await made.close()
        await channel.close()
