"""What leaves a server that is drained or lost, and what stays."""

import asyncio
import time

import pytest

from frontend.triton import balancer as balancer_module
from frontend.triton import fleet as fleet_module
from frontend.triton import renewals as renewals_module
from frontend.triton.addresses import Address
from frontend.triton.balancer import FILE, LIVE
from frontend.triton.pace import Pace
from tests.unit.frontend.fleet_kit import asked, gone, seen, sessions, three

__all__ = ["three"]


async def test_a_drained_servers_sessions_leave_where_nothing_of_theirs_is_open_and_a_few_at_a_time(three):
    server = three.get("127.0.0.1:1")
    resting, speaking = sessions(server, 16), sessions(server, 4, at_rest=lambda: False)
    addresses = [Address("127.0.0.1:1", 0.0), Address("127.0.0.1:2"), Address("127.0.0.1:3")]
    assert three.name(addresses) == []
    assert asked(three, LIVE) == {"2", "3"}
    assert server.state(0.0) == "draining"
    now, rounds = 1_000.0, 0
    while gone(resting) < len(resting):
        three._tend(server, now)
        rounds += 1
        now += fleet_module.TEND_S
        await asyncio.sleep(0)
    assert rounds >= 8
    assert gone(speaking) == 0
    now += fleet_module.PATIENCE_S
    for _ in range(10):
        three._tend(server, now)
        await asyncio.sleep(0)
    assert gone(speaking) == len(speaking)
    for _ in range(20):
        server.standing.end(LIVE)
    three._tend(server, now)
    assert server.state(now) == "drained"
    assert three.get("127.0.0.1:1") is server, "it is named, and may take work again"
    three.name([Address(f"127.0.0.1:{n}") for n in (1, 2, 3)])
    assert "1" in asked(three)


async def test_sessions_of_a_drained_server_stay_where_there_is_no_other(three):
    server = three.get("127.0.0.1:1")
    staying = sessions(server, 8)
    seen(three, 2, lost=["asr"])
    seen(three, 3, lost=["asr"])
    three.name([Address("127.0.0.1:2"), Address("127.0.0.1:3")])
    for now in range(100):
        three._tend(server, float(now))
    assert gone(staying) == 0
    seen(three, 2)
    three._tend(server, 100.0)
    assert gone(staying) > 0


async def test_who_is_named_no_more_is_closed_when_nothing_is_under_way_there(three):
    server = three.get("127.0.0.1:1")
    server.standing.begin(FILE)
    assert three.name([Address("127.0.0.1:2"), Address("127.0.0.1:3"), Address("127.0.0.1:4")]) == [
        Address("127.0.0.1:4")
    ]
    three._tend(server, 0.0)
    assert three.get(server.url) is server
    assert asked(three) == {"2", "3"}
    server.standing.end(FILE)
    three._tend(server, 0.0)
    assert three.get(server.url) is None
    assert len(three) == 2


async def test_who_comes_back_before_it_is_closed_goes_on(three):
    server = three.get("127.0.0.1:1")
    server.standing.begin(FILE)
    three.name([Address("127.0.0.1:2"), Address("127.0.0.1:3")])
    assert three.name([Address(f"127.0.0.1:{n}") for n in (1, 2, 3)]) == []
    assert not server.leaving
    server.standing.end(FILE)
    three._tend(server, 0.0)
    assert asked(three) == {"1", "2", "3"}


async def test_sessions_leave_a_server_that_stays_lost(three):
    server = seen(three, 1, lost=["asr_stream"])
    waiting = sessions(server, 8, at_rest=lambda: False)
    three._tend(server, 0.0)
    three._tend(server, fleet_module.LOST_S)
    assert gone(waiting) == 0, "a model is loaded again within seconds"
    three._tend(server, fleet_module.LOST_S + 0.1)
    assert gone(waiting) > 0


async def test_who_comes_back_before_it_is_closed_is_looked_at_anew(three):
    """Readiness would go on to say what was seen before it went."""
    server = three.get("127.0.0.1:1")
    server.watch(Pace())
    began = sessions(server, 1)
    three.name([Address("127.0.0.1:2"), Address("127.0.0.1:3")])
    while server.watching is not None:
        await asyncio.sleep(0.01)
    assert three.name([Address(f"127.0.0.1:{number}") for number in (1, 2, 3)]) == []
    assert server.watching is not None
    assert not server.well
    assert not began[0].done()


async def test_sessions_stay_on_a_drained_server_where_the_others_have_said_that_they_are_full(three):
    """They would give up a place that they have."""
    server = three.get("127.0.0.1:1")
    began = sessions(server, 16)
    three.name([Address("127.0.0.1:1", 0.0), Address("127.0.0.1:2"), Address("127.0.0.1:3")])
    three._tend(server, 1_000.0)
    assert gone(began) == 1
    for number in (2, 3):
        three.get(f"127.0.0.1:{number}").standing.full(LIVE, time.monotonic() - 2 * balancer_module.FULL_S)
    assert asked(three, LIVE) == {"2", "3"}, "new ones ask them again"
    for now in range(1_001, 1_100):
        three._tend(server, float(now))
    assert gone(began) == 1
    three.get("127.0.0.1:3").standing.full(LIVE, time.monotonic() - balancer_module.FULL_FOR_MOVED_S)
    three._tend(server, 1_100.0)
    assert gone(began) > 1


async def test_files_on_a_machine_that_is_silent_are_asked_for_elsewhere(three, monkeypatch):
    """Whose models are loaded again is waited for."""
    monkeypatch.setattr(renewals_module, "LOOK_S", 0.01)
    server = three.get("127.0.0.1:1")
    answer = asyncio.create_task(server.client.renewals.answer(asyncio.Event().wait(), time.monotonic()))
    seen(three, 1, lost=["asr"])
    for now in (0.0, 2 * fleet_module.LOST_S):
        three._tend(server, now)
    await asyncio.sleep(0.05)
    assert not answer.done()
    server.known.states.clear()
    server.looked()
    three._tend(server, 3 * fleet_module.LOST_S)
    with pytest.raises(renewals_module.Unanswered):
        await asyncio.wait_for(answer, 5)
    seen(three, 1)
    three._tend(server, 4 * fleet_module.LOST_S)
    assert not server.client.renewals.is_gone
