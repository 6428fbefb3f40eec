"""Calls that a lost model took with it are given up when it is back; all others wait as long as they like."""

import asyncio
import time

import pytest

from frontend.triton import renewals
from frontend.triton.renewals import Renewals, Unanswered


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(renewals, "GRACE_S", 0.1)
    monkeypatch.setattr(renewals, "LOOK_S", 0.02)


async def late(delay_s, value="text"):
    await asyncio.sleep(delay_s)
    return value


async def test_an_answer_and_an_error_go_through():
    known = Renewals()
    assert await known.answer(late(0.0), time.monotonic()) == "text"

    async def fails():
        raise KeyError("x")

    with pytest.raises(KeyError):
        await known.answer(fails(), time.monotonic())


async def test_a_call_from_before_the_loss_is_given_up_after_the_grace():
    known = Renewals()
    call = asyncio.ensure_future(late(30.0))
    sent = time.monotonic()
    known.note("decoder")
    with pytest.raises(Unanswered):
        await known.answer(call, sent)
    await asyncio.sleep(0)
    assert call.cancelled()


async def test_a_call_that_answers_within_the_grace_is_kept():
    known = Renewals()
    sent = time.monotonic()
    known.note("decoder")
    assert await known.answer(late(0.05), sent) == "text"


async def test_each_answer_of_a_call_that_goes_on_has_the_whole_grace():
    known = Renewals()
    sent = time.monotonic()
    known.note("decoder")
    await asyncio.sleep(0.15)
    assert await known.answer(late(0.05), sent) == "text"


async def test_a_call_from_after_the_loss_may_take_its_time():
    known = Renewals()
    known.note("decoder")
    assert await known.answer(late(0.3), time.monotonic()) == "text"


async def test_a_caller_that_leaves_takes_the_call_along():
    known = Renewals()
    call = asyncio.ensure_future(late(30.0))
    waiting = asyncio.create_task(known.answer(call, time.monotonic()))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert call.cancelled()
