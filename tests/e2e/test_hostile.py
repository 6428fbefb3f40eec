"""A few hundred inputs that nobody in his right mind sends, at every entrance of the running service."""

import asyncio

import httpx
import pytest

from perf.chaos.hostile.answers import Answer, Tally
from perf.chaos.hostile.beside import Beside
from perf.chaos.hostile.catalogue import attacks
from perf.chaos.hostile.round import sent
from perf.chaos.traffic import prepared

COUNT = 400


@pytest.fixture(scope="module")
async def onslaught(service):
    """What became of them, what somebody who behaves heard meanwhile, and /health before and after."""
    before = service.health()
    triton = before["triton"]["url"]
    talk = (await prepared(service.url, 1, seed=3))[0]
    tally, beside, stop = Tally(), Beside(service.url, talk), asyncio.Event()
    good = [asyncio.create_task(one(stop)) for one in (beside.live, beside.files_again)]
    try:
        await sent(int(service.url.rsplit(":", 1)[1]), triton, attacks(11, COUNT), tally)
    finally:
        stop.set()
        await asyncio.gather(*good)
    judged = await beside.judged(triton)
    return tally, beside, judged, before, service.health()


async def test_nothing_fails_and_nothing_hangs(onslaught):
    tally = onslaught[0]
    assert sum(tally.answers.values()) == COUNT
    assert tally.findings() == []
    # Most of them are mistakes, and are called so.
    assert tally.count(Answer.REFUSED) > COUNT / 3


async def test_a_stream_and_a_file_beside_it_are_what_offline_decoding_says(onslaught):
    _, beside, judged, _, _ = onslaught
    assert beside.errors == []
    assert judged["wrong"] == 0
    assert judged["sessions"] >= 1
    assert judged["partials"] >= 1
    assert judged["files"] >= 1


async def test_no_process_had_to_be_started_anew(onslaught, service):
    *_, before, after = onslaught
    assert after["healed"] == before["healed"]
    assert after["triton"]["name"] == before["triton"]["name"]
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{service.url}/health/ready")).status_code == 200
