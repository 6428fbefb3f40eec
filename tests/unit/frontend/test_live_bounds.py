"""What a live session may send: what waits for Triton, what is ahead of the clock, and how long nothing may be said."""

import asyncio

import pytest

from frontend.api import duplex
from frontend.guard.drain import Drain
from frontend.triton import live_session
from frontend.triton.lasting_session import LastingSession
from frontend.triton.renewals import Renewals

SECOND = bytes(32_000)


class Stalled:
    """A Triton that takes requests one by one, when it is told to."""

    def __init__(self):
        self.requests = None
        self.renewals = Renewals()

    def live_stream(self, requests):
        self.requests = requests
        return self

    def cancel(self):
        pass

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.Event().wait()


async def test_a_client_waits_while_triton_takes_nothing():
    triton = Stalled()
    session = LastingSession(triton, "name")
    for _ in range(live_session.MOST_QUEUED_BYTES // len(SECOND)):
        await asyncio.wait_for(session.room(1e9), 1)
        session.send(SECOND)
    session.send(SECOND)
    waiting = asyncio.create_task(session.room(1e9))
    for _ in range(3):
        await anext(triton.requests)
    await asyncio.wait_for(waiting, 1)
    session.send(bytes(live_session.MOST_QUEUED_BYTES))
    waiting = asyncio.create_task(session.room(1e9))
    await asyncio.sleep(0)
    assert not waiting.done()
    # Nobody waits for a stream that is left.
    await session.close()
    await asyncio.wait_for(waiting, 1)


async def test_a_client_waits_when_it_is_ahead_of_the_clock():
    session = LastingSession(Stalled(), "name")
    session.send(SECOND)
    await asyncio.wait_for(session.room(1.0), 1)
    session.send(SECOND)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(session.room(1.0), 0.05)
    await session.close()


@pytest.mark.parametrize("commands", [0, 50])
async def test_a_session_without_sound_is_finished_whatever_else_it_sends(commands):
    session, drain = LastingSession(Stalled(), "name"), Drain()
    ended = asyncio.Event()

    async def never():
        raise AssertionError("it ended in time")

    async def speak():
        session.send(SECOND)
        for _ in range(commands):
            session.send(parameters={"command": "flush"})
            await asyncio.sleep(0.01)
        await asyncio.Event().wait()

    await asyncio.wait_for(duplex.run(session, speak(), ended.wait(), ended.set, drain, 0.2, never), 5)
    assert ended.is_set()
    assert not drain.busy
