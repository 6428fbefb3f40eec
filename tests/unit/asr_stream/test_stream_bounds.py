"""What one live session may take from the others."""

import asyncio
import itertools
import time

import numpy as np
import pytest

from export.rooms import room
from perf.models.local_rooms import LocalRooms
from tests.conftest import TINY
from tests.unit.asr_stream.stream_kit import Fed, Settings, inbox_room, parameters_room


@pytest.fixture(scope="module")
def rooms():
    made = LocalRooms.of(TINY)
    yield made
    made.close()


def test_an_interval_below_the_servers_floor_is_refused():
    with pytest.raises(ValueError, match="at least 100 on this server, not 50"):
        Settings().changed({"partial_interval_ms": 50}, 100)
    assert Settings().changed({"partial_interval_ms": 100}, 100).partial_interval_ms == 100


@pytest.mark.parametrize("name", ["language", "context"])
def test_texts_of_any_length_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} has 20001 characters"):
        Settings().changed({name: "a" * 20_001})


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", -1, 1e300, [], None])
@pytest.mark.parametrize("name", ["threshold", "silence_ms", "max_utterance_s", "partial_interval_ms"])
def test_numbers_that_are_none_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        Settings().changed({name: value})


def test_waiting_commands_are_bounded_and_an_end_is_always_taken():
    inbox = inbox_room.Inbox(1.0)
    for _ in range(inbox_room.MAX_COMMANDS):
        inbox.command("flush")
    with pytest.raises(ValueError, match="commands wait"):
        inbox.command("flush")
    inbox.take(1)
    inbox.command("flush")
    inbox.command("end")


def test_a_backlog_of_single_samples_takes_the_memory_of_few_pieces():
    inbox = inbox_room.Inbox(120.0)
    pcm = np.arange(16_000, dtype=np.float32)
    for sample in pcm:
        inbox.push(np.array([sample]))
    parts = inbox.take(pcm.size)
    assert len(parts) == pcm.size // inbox_room.MIN_PIECE
    assert np.array_equal(np.concatenate(parts), pcm)


def test_a_chunk_of_any_length_leaves_the_others_their_turns():
    inbox = inbox_room.Inbox(120.0)
    pcm = np.arange(60 * 16_000, dtype=np.float32)
    inbox.push(pcm)
    inbox.command("flush")
    taken = []
    while isinstance(parts := inbox.take(32_000), list):
        taken.append(np.concatenate(parts))
    assert parts.name == "flush"
    assert {one.size for one in taken} == {32_000}
    assert np.array_equal(np.concatenate(taken), pcm)
    inbox.push(pcm)


@pytest.mark.parametrize("retry_s", [1.0, 30.0, 60.0, 600.0])
def test_a_call_that_stalls_leaves_time_for_another(retry_s):
    limits = parameters_room.Parameters(retry_s=retry_s)
    first = room("asr_stream", "retrying").RETRY_FIRST_S
    assert limits.step_timeout_s + first < retry_s


async def test_settings_alone_do_not_hold_a_place(rooms):
    fed = Fed(rooms, limits={"idle_s": 0.3})
    began = time.monotonic()
    while not fed.task.done() and time.monotonic() - began < 3:
        fed.session.command("settings", lambda before: before)
        await asyncio.sleep(0.02)
    assert fed.task.done()
    assert fed.events[-1]["reason"] == "idle"


async def test_steps_of_audio_that_comes_at_once_are_apart(rooms, english):
    fed = Fed(rooms, vad="off", partial_interval_ms=100, limits={"min_partial_interval_ms": 300})
    began = time.monotonic()
    await fed.feed(english, itertools.repeat(8_000))
    partials = len(fed.of("partial"))
    assert partials > 2
    assert time.monotonic() - began > 0.3 * (partials - 1)
    await fed.end()
