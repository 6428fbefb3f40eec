"""Several servers: who is asked while some are lost, drained or different, and where their sessions go."""

import asyncio
import math
import time

import numpy as np
import pytest

from frontend.settings import Settings
from frontend.triton import fleet as fleet_module
from frontend.triton import lives, probes
from frontend.triton.addresses import Address
from frontend.triton.backend import Backend
from frontend.triton.balancer import LIVE
from frontend.triton.client import TritonClient, TritonUnavailable
from frontend.triton.fleet import Fleet
from frontend.triton.likeness import Likeness, differences
from frontend.triton.pace import Pace
from frontend.triton.probes import Answer
from frontend.triton.server import Hearsay, Server
from tests.unit.frontend.fleet_kit import MODELS, asked, seen, three

__all__ = ["three"]


async def test_who_is_lost_is_not_asked_and_the_others_go_on(three):
    assert asked(three) == {"1", "2", "3"}
    seen(three, 2, lost=["asr"])
    assert asked(three) == {"1", "3"}
    assert three.is_well
    seen(three, 1, lost=["asr_stream"])
    seen(three, 3, lost=["asr"])
    assert not three.is_well
    assert asked(three) == {"1", "2", "3"}, "what was seen may be old"
    assert three.get("127.0.0.1:2").state(time.monotonic()) == "lost"
    seen(three, 2)
    assert asked(three) == {"2"}
    assert three.first.url == "127.0.0.1:2"


async def test_a_server_that_differs_from_most_is_refused_until_most_are_like_it(three, caplog):
    odd = seen(three, 3, checkpoint="another")
    assert odd.odd == "it serves another, the others tiny"
    assert odd.state(time.monotonic()) == "refused"
    assert asked(three) == {"1", "2"}
    assert "127.0.0.1:3: it is refused: it serves another, the others tiny" in caplog.text
    for number in (1, 2):
        seen(three, number, lost=["asr"])
    # The others are lost, and still it is not what was asked for.
    assert "3" not in asked(three)
    seen(three, 2, checkpoint="another")
    assert asked(three) == {"2", "3"}
    assert three.get("127.0.0.1:1").odd
    three.get("127.0.0.1:1").known = Hearsay()
    three.get("127.0.0.1:1").looked()
    seen(three, 1, checkpoint="another", aligner=False)
    assert three.get("127.0.0.1:1").odd == "it has no aligner, the others have one"


async def test_as_many_of_both_kinds_leave_it_as_it_was(three):
    three.name([Address("127.0.0.1:1"), Address("127.0.0.1:2")])
    seen(three, 2, checkpoint="another")
    seen(three, 1)
    assert asked(three) == {"1"}
    # Its server was given up: there is nobody else of that kind.
    three.get("127.0.0.1:1").known = Hearsay()
    three.get("127.0.0.1:1").looked()
    assert asked(three) == {"2"}


async def test_a_server_is_asked_when_it_has_told_its_checkpoint(three):
    fresh = seen(three, 3)
    fresh.known.told.clear()
    assert asked(three) == {"1", "2"}
    assert fresh.state(time.monotonic()) == "lost"
    three.name([Address("127.0.0.1:3")])
    for url in ("127.0.0.1:1", "127.0.0.1:2"):
        three.remove(url)
    assert fresh.well, "there is none that it could differ from"
    assert asked(three) == {"3"}


def test_frontends_that_begin_among_as_many_of_both_kinds_choose_alike():
    found = {"a:1": Likeness("tiny"), "b:1": Likeness("another")}
    for names in (found, reversed(found)):
        usual, odd = differences({name: found[name] for name in names}, None)
        assert usual == Likeness("tiny")
        assert odd == {"b:1": "it serves another, the others tiny"}


def test_the_settings_of_one_and_of_several_exclude_each_other():
    urls = ["a:1", "b:1"]
    assert lives.trouble(Settings(triton_urls=urls)) == ""
    assert "one of them is enough" in lives.trouble(Settings(triton_urls=urls, triton_url="a:1"))
    for other in ({"load": "first_request"}, {"idle_timeout": 5.0}):
        assert "ASR_IDLE_TIMEOUT are for one" in lives.trouble(Settings(triton_urls=urls, **other))
        assert lives.trouble(Settings(triton_url="a:1", **other)) == ""


async def test_servers_of_which_none_answers_are_asked_all_the_same_and_health_tells_of_each():
    settings = Settings(triton_urls=["127.0.0.1:1", "127.0.0.1:2=2"], triton_start_timeout_s=20.0)
    backend = Backend(settings)
    await backend.start()
    async with backend.use() as client:
        assert client.url in ("127.0.0.1:1", "127.0.0.1:2")
        assert not backend.is_ready()
        with pytest.raises(TritonUnavailable):
            await client.vad(np.zeros(512, "f4"), np.zeros(320, "f4"))
    told = backend.servers()
    assert [(one["url"], one["state"], one["weight"]) for one in told] == [
        ("127.0.0.1:1", "lost", 1.0),
        ("127.0.0.1:2", "lost", 2.0),
    ]
    assert set(told[0]["lost"]) >= {"asr", "asr_stream"}
    assert not any(backend.readiness().values())
    await backend.stop()


async def test_a_file_that_changes_changes_the_servers(tmp_path, monkeypatch):
    monkeypatch.setattr(lives, "EVERY_S", 0.02)
    named = tmp_path / "servers"
    named.write_text("127.0.0.1:1\n127.0.0.1:2\n")
    backend = Backend(Settings(triton_urls=[f"file://{named}"], triton_start_timeout_s=0.5))
    await backend.start()

    async def until(condition):
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.01)

    await until(lambda: backend.has_begun)
    assert [server.url for server in backend.fleet] == ["127.0.0.1:1", "127.0.0.1:2"]
    named.write_text("127.0.0.1:2=0\n127.0.0.1:3\n")
    await until(lambda: [server.url for server in backend.fleet] == ["127.0.0.1:2", "127.0.0.1:3"])
    assert backend.fleet.get("127.0.0.1:2").is_drained
    named.write_text("127.0.0.1:3=0\n127.0.0.1:2=0\n")
    await until(lambda: backend.fleet.get("127.0.0.1:3").is_drained)
    with pytest.raises(TritonUnavailable, match="every server is drained"):
        await backend.connected()
    named.write_text("nonsense\n")
    await asyncio.sleep(0.1)
    assert len(backend.fleet) == 2, "what cannot be read names nobody anew"
    await backend.stop()
    assert len(backend.fleet) == 0


async def test_a_session_begins_where_the_fewest_are_now_though_nobody_has_looked_lately(three, monkeypatch):
    now_there, asked_of = {"1": 9, "2": 2, "3": 5}, []

    async def probe(stub, model, timeout_s, tell):
        server = next(one for one in three if one.client.stub is stub)
        asked_of.append(server.url[-1])
        if server.url[-1] not in now_there:
            return Answer.SILENT
        tell(model, {"type": "opened", "sessions": now_there[server.url[-1]]})
        return Answer.ALIVE

    monkeypatch.setattr(probes, "probe", probe)
    assert (await three.choose_live()) is not None
    assert asked_of == [], "somebody has just looked"
    for server in three:
        server.seen_at = -math.inf
    assert (await three.choose_live()).url[-1] == "2"
    assert sorted(asked_of) == ["1", "2", "3"]
    for server in three:
        server.seen_at = -math.inf
    del now_there["2"]
    assert (await three.choose_live()).url[-1] == "3"
    # Who does not answer is left alone until somebody has looked.
    assert asked(three, LIVE) == {"3"}


async def test_many_servers_are_looked_at_less_often():
    made = Fleet()
    for number in range(40):
        url = f"127.0.0.1:{number + 1}"
        server = Server(Address(url), TritonClient(url), MODELS)
        made.add(server)
        server.watch(Pace())
    server.looked()
    assert {one.watcher.interval_s for one in made} == {40 * fleet_module.LOOK_EACH_S}
    assert math.isclose(40 * fleet_module.LOOK_EACH_S, 2.0)
    await made.close()


async def test_many_who_begin_at_once_ask_a_server_once(three, monkeypatch):
    asked = []

    async def answers(stub, model, timeout_s, tell):
        asked.append(model)
        await asyncio.sleep(0.05)
        return next(iter(probes.WELL))

    monkeypatch.setattr(probes, "probe", answers)
    server = three.get("127.0.0.1:1")
    await asyncio.gather(*(server.ask(1.0) for _ in range(50)))
    assert len(asked) == 1
    await server.ask(1.0)
    assert len(asked) == 2


async def test_a_session_on_a_connection_that_is_closed_is_told_that_it_is_away():
    client = TritonClient("127.0.0.1:1")
    await client.close()
    with pytest.raises(TritonUnavailable):
        client.live_stream(aiter_of_nothing())


async def aiter_of_nothing():
    return
    yield
