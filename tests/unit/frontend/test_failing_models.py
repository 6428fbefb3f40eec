"""Models that answer, and with nothing but errors: they are not well, and are loaded again."""

import asyncio
import itertools
import os
import types

import pytest

from frontend.audio import attempts
from frontend.triton import healing, lines, pace, probes, watcher
from frontend.triton.canaries import Canaries
from frontend.triton.client import TritonRefused, TritonUnavailable
from frontend.triton.errors import ControlRefused
from frontend.triton.healing import ServerLost
from frontend.triton.pace import Pace
from frontend.triton.probes import Answer
from frontend.triton.renewals import Renewals
from frontend.triton.watcher import Watcher

MODELS = ("asr", "vad", "encoder", "decoder")


class Server:
    """Of models that answer what they are told to."""

    stub = None

    def __init__(self, monkeypatch):
        self.probed, self.flown = {}, {}
        self.loaded = []
        self.models = MODELS
        self.answered = {}
        self.renewals = Renewals()
        self.computed, self.failed, self.refused = 0, 0, ""

        async def probe(stub, name, *_):
            return self.probed.get(name, Answer.ALIVE)

        async def canary(stub, name, timeout_s):
            return self.flown.get(name, Answer.ALIVE)

        monkeypatch.setattr(probes, "probe", probe)
        monkeypatch.setattr(probes, "canary", canary)
        monkeypatch.setattr(healing, "JITTER_S", 0.0)

    async def repository(self, timeout_s):
        if self.refused:
            raise ControlRefused(self.refused)
        return dict.fromkeys(self.models, "READY")

    async def is_ready(self, name, timeout_s):
        return True

    async def counts(self, name, timeout_s):
        return self.computed, self.failed

    async def unload(self, name, *, alone):
        pass

    async def load(self, name, timeout_s):
        self.loaded.append(name)


async def rounds(one, number):
    for _ in range(number):
        await one.look()
        await asyncio.sleep(0)


@pytest.mark.parametrize("told", ["by their answers", "by the kernel"])
async def test_live_speech_is_loaded_again_after_what_it_asks(monkeypatch, told):
    server = Server(monkeypatch)
    server.models = ("asr_stream", "vad", "encoder", "decoder")
    one = Watcher(server, server.models)
    dead = {"asr_stream", "encoder", "decoder"}
    # One a round: what the others said is old when one was loaded.
    for number, name in enumerate(("encoder", "decoder", "asr_stream"), 1):
        if told == "by the kernel":
            one._seen_dead = dict.fromkeys(dead, "its process")
            one._death.set()
        else:
            server.probed = dict.fromkeys(dead, Answer.LOST)
        await one.look()
        assert (len(server.loaded), server.loaded[-1]) == (number, name)
        dead.remove(name)


async def test_a_decoder_is_lost_when_it_stands_still_twice(monkeypatch):
    """A machine that was frozen in the middle of a step finds it late, once."""
    server = Server(monkeypatch)
    one = Watcher(server, MODELS)
    server.probed["decoder"] = Answer.STALLED
    await rounds(one, 1)
    server.probed["decoder"] = Answer.WORKING
    await rounds(one, 1)
    server.probed["decoder"] = Answer.STALLED
    await rounds(one, 1)
    assert not server.loaded
    await rounds(one, 1)
    assert server.loaded == ["decoder"]


async def test_a_model_that_answers_with_errors_is_loaded_again_at_the_third(monkeypatch):
    server = Server(monkeypatch)
    one = Watcher(server, MODELS)
    server.probed["encoder"] = Answer.FAILED
    await rounds(one, 2)
    assert not one.unhealthy
    server.probed.clear()
    await rounds(one, 1)
    server.probed["encoder"] = Answer.FAILED
    await rounds(one, 2)
    assert not one.unhealthy
    assert not server.loaded
    await rounds(one, 1)
    assert server.loaded == ["encoder"]
    # The new one fails as well: it is not well, and waits.
    await rounds(one, 3)
    assert "encoder" in one.unhealthy["asr"]
    assert server.loaded == ["encoder"]
    server.probed.clear()
    await rounds(one, 1)
    assert not one.unhealthy


async def test_where_files_fail_alone_the_decoder_is_loaded_again(monkeypatch):
    server = Server(monkeypatch)
    one = Watcher(server, MODELS, Pace(canary_s=0.0))
    server.flown["asr"] = Answer.FAILED
    for _ in range(20):
        await rounds(one, 1)
        if server.loaded:
            break
    assert server.loaded == ["decoder"]


@pytest.mark.parametrize("owned", [True, False])
async def test_a_server_of_ours_is_given_up_where_two_loads_do_not_help(monkeypatch, owned):
    server = Server(monkeypatch)
    monkeypatch.setattr(healing, "MOST_PAUSE_S", 0.0)
    one = Watcher(server, MODELS, owned=owned)
    server.probed["encoder"] = Answer.FAILED
    await rounds(one, 8)
    assert server.loaded == ["encoder"] * 2
    if owned:
        with pytest.raises(ServerLost):
            await rounds(one, 1)
    else:
        await rounds(one, 1)
        assert server.loaded == ["encoder"] * 3


@pytest.mark.parametrize(
    ("model", "failed", "computed", "answer"),
    [
        ("vad", 1, 0, Answer.LOST),
        ("decoder", 1, 0, Answer.LOST),
        # Somebody's mistakes among what goes on.
        ("vad", 1, 1, Answer.SILENT),
        ("vad", 0, 0, Answer.SILENT),
        # One that is busy with a long computation while requests that wait for it are taken back.
        ("encoder", 1, 0, Answer.SILENT),
    ],
)
async def test_a_line_where_each_fails_and_none_is_computed_is_before_a_dead_process(
    monkeypatch, model, failed, computed, answer
):
    server = Server(monkeypatch)
    monkeypatch.setattr(lines, "LOOK_S", 0.01)

    async def counts(name, timeout_s):
        server.failed, server.computed = server.failed + failed, server.computed + computed
        return server.computed, server.failed

    async def probe(*_):
        await asyncio.sleep(0.3)
        return Answer.SILENT

    server.counts = counts
    monkeypatch.setattr(probes, "probe", probe)
    assert await lines.ask(server, model, 5.0, 30.0, 2.0) is answer


@pytest.mark.parametrize("owned", [True, False])
async def test_a_server_of_ours_is_given_up_where_a_model_cannot_be_loaded_again(monkeypatch, owned):
    """Its engine is in the server's own process, and a GPU's failure with it."""
    server = Server(monkeypatch)
    monkeypatch.setattr(healing, "MOST_PAUSE_S", 0.0)
    trials = []

    async def load(name, timeout_s):
        trials.append(name)
        raise TritonRefused("CUDA failure 719: unspecified launch failure")

    server.load = load
    one = Watcher(server, MODELS, owned=owned)
    server.probed["encoder"] = Answer.LOST
    await rounds(one, healing.MOST_FAILURES - 1)
    if owned:
        with pytest.raises(ServerLost):
            await rounds(one, 1)
    else:
        await rounds(one, 1)
    assert trials == ["encoder"] * healing.MOST_FAILURES
    assert not one.healed


async def test_one_failed_canary_says_nothing(monkeypatch):
    server = Server(monkeypatch)
    canaries = Canaries(server, 0.0, 10.0)
    server.flown["asr"] = Answer.FAILED
    told = []
    for _ in range(8):
        told.append(canaries.turn(["asr"], suspicious=False))
        await asyncio.sleep(0)
    assert told[:5] == [{}] * 5
    assert told[5] == told[6] == {"asr": Answer.FAILED}


async def test_a_count_that_is_not_told_is_no_progress(monkeypatch):
    server = Server(monkeypatch)
    monkeypatch.setattr(pace, "STALL_S", 0.1)
    one = Watcher(server, MODELS)
    server.probed["vad"] = Answer.SILENT
    told = itertools.cycle([(7, 0), None])

    async def counts(name, timeout_s):
        return next(told)

    server.counts = counts
    for _ in range(4):
        await one.look()
        await asyncio.sleep(0.15)
    assert server.loaded == ["vad"]


@pytest.mark.parametrize(("model", "computes", "loaded"), [("vad", 0, 1), ("vad", 1, 0), ("encoder", 0, 0)])
async def test_a_silent_model_whose_line_does_not_move_is_loaded_again_soon(monkeypatch, model, computes, loaded):
    server = Server(monkeypatch)
    monkeypatch.setattr(pace, "STALL_S", 0.1)
    one = Watcher(server, MODELS)
    server.probed[model] = Answer.SILENT
    for _ in range(3):
        server.computed += computes
        # Longer than it may stand still.
        await asyncio.sleep(0.15)
        await one.look()
        if server.loaded:
            break
    assert server.loaded == [model] * loaded


async def test_a_secret_that_cannot_be_read_makes_no_model_unwell_and_is_read_again(monkeypatch):
    server = Server(monkeypatch)
    one = Watcher(server, MODELS)
    server.refused = "the file holds no secret"
    await rounds(one, 1)
    assert not one.unhealthy
    assert one.forbidden == "the file holds no secret"
    server.refused = ""
    await rounds(one, 1)
    assert not one.forbidden


async def test_what_kills_one_process_after_the_other_is_given_up(monkeypatch):
    """Each server would be ready for it anew."""
    monkeypatch.setattr(attempts, "RETRY_FIRST_S", 0.001)
    monkeypatch.setattr(attempts, "RETRY_MOST_S", 0.001)
    asked_for = []

    async def dies(client, timeout_s):
        asked_for.append(client)
        raise TritonUnavailable("Stub process 'decoder_0' is not healthy.")

    async def connected():
        return None

    with pytest.raises(TritonUnavailable, match="not healthy"):
        await attempts.asked(connected, 1e6, dies, "no time")
    assert len(asked_for) == attempts.MOST_FAILURES


@pytest.mark.parametrize("are_seen", [True, False])
@pytest.mark.parametrize(
    "then", [Answer.ALIVE, Answer.SILENT, Answer.LOST], ids=["it answers", "it is busy", "it is lost"]
)
async def test_an_answer_that_stood_in_line_before_a_dead_process_is_asked_for_again(monkeypatch, then, are_seen):
    server = Server(monkeypatch)
    monkeypatch.setattr(watcher, "FRESH_S", 0.0)
    one = Watcher(server, MODELS, server=os.getpid if are_seen else None)
    asked = []

    async def probe(stub, name, *_):
        asked.append(name)
        return Answer.ALIVE if name != "decoder" else Answer.LOST if asked.count(name) == 1 else then

    monkeypatch.setattr(probes, "probe", probe)
    server.config = lambda name, timeout_s: asyncio.sleep(0, types.SimpleNamespace(backend="", instance_group=[]))
    await one.look()
    # Where processes are seen, the kernel says who is dead: a busy one is not loaded again.
    is_lost = then is Answer.LOST or (then is Answer.SILENT and not are_seen)
    assert server.loaded == ["decoder"] * is_lost
