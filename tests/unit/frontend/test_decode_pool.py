"""Threads that decode uploads: bounded, given up where nothing comes of them, and back again."""

import asyncio
import threading
import time

import pytest

from frontend.audio import decode_pool
from frontend.audio.decode_pool import DecodePool, DecodersBusy, DecodeTimeout


@pytest.fixture
def pool():
    made = DecodePool(threads=1, part_s=0.2, most_waiting=1)
    yield made
    made.close()


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


async def test_calls_run_beside_the_loop_and_bring_what_they_return_or_raise(pool):
    assert await pool.run(threading.current_thread) is not threading.current_thread()
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 // 0)
    with pytest.raises(TimeoutError, match="its own"):
        await pool.run(lambda: (_ for _ in ()).throw(TimeoutError("its own")))


async def test_a_call_that_gets_nowhere_is_given_up_and_its_place_comes_back(pool):
    stop = threading.Event()

    def spin():
        while not stop.is_set():
            pass

    with pytest.raises(DecodeTimeout):
        await pool.run(spin)
    assert pool.lost == 1
    # Beside the thread that is stuck there is another.
    assert await pool.run(lambda: "next") == "next"
    stop.set()
    await until(lambda: pool.lost == 0)
    assert await pool.run(lambda: "again") == "again"


async def test_a_call_that_costs_no_processor_time_has_more_time(pool):
    assert await pool.run(lambda: time.sleep(0.5) or "slow") == "slow"
    stop = threading.Event()
    with pytest.raises(DecodersBusy, match="go on"):
        await pool.run(lambda: stop.wait(10))
    stop.set()


async def test_nothing_new_is_begun_while_too_much_waits(pool):
    gate = threading.Event()
    running = [asyncio.create_task(pool.run(gate.wait)) for _ in range(3)]
    await until(lambda: pool.waiting == 2)
    with pytest.raises(DecodersBusy):
        pool.check()
    gate.set()
    await asyncio.gather(*running)
    pool.check()


async def test_who_leaves_takes_what_has_not_begun_along(pool):
    gate, ran = threading.Event(), []
    first = asyncio.create_task(pool.run(gate.wait))
    second = asyncio.create_task(pool.run(lambda: ran.append("second")))
    await until(lambda: pool.waiting == 1)
    second.cancel()
    await asyncio.wait([second])
    gate.set()
    assert await first
    await pool.run(lambda: ran.append("third"))
    assert ran == ["third"]


async def test_who_leaves_a_call_that_ends_costs_no_place(pool, monkeypatch):
    """Its thread goes on with the next one, however many leave."""
    monkeypatch.setattr(decode_pool, "MOST_LOST", 2)
    names = set()
    for _ in range(5):
        begun, over = threading.Event(), threading.Event()
        leaver = asyncio.create_task(pool.run(lambda begun=begun, over=over: begun.set() or over.wait(10)))
        await until(begun.is_set)
        leaver.cancel()
        await asyncio.wait([leaver])
        over.set()
        assert pool.lost == 0
        pool.check()
        names.add(await pool.run(lambda: threading.current_thread().ident))
    assert len(names) == 1


async def test_too_many_that_are_stuck_let_nothing_new_begin_until_they_are_back(pool, monkeypatch):
    monkeypatch.setattr(decode_pool, "MOST_LOST", 1)
    monkeypatch.setattr(decode_pool, "LEAVE_S", 0.05)
    begun, stop = threading.Event(), threading.Event()
    stuck = asyncio.create_task(pool.run(lambda: begun.set() or stop.wait(10)))
    await until(begun.is_set)
    stuck.cancel()
    await asyncio.wait([stuck])
    await until(lambda: pool.lost == 1)
    with pytest.raises(DecodersBusy):
        pool.check()
    with pytest.raises(DecodersBusy, match="no thread"):
        await pool.run(lambda: "never")
    stop.set()
    await until(lambda: pool.lost == 0)
    assert await pool.run(lambda: "again") == "again"
