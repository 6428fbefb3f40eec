"""Sound of small messages that goes to Triton together, and what is not kept waiting for it."""

import asyncio
import math

import pytest

from frontend.api.ws_transcribe import _Sound
from frontend.guard.shortcut import Shortcut
from frontend.observe.delays import Delays
from frontend.triton.lasting_session import LastingSession
from frontend.triton.renewals import Renewals

# Longer than any test lasts, and than a machine stands still.
FOR_EVER_S = 1_000.0
MESSAGE = 640


class Triton:
    """Takes requests, and says what it is told to."""

    def __init__(self):
        self.renewals = Renewals()
        self._coming = None

    def live_stream(self, requests):
        self._coming = requests
        return self

    def cancel(self):
        pass

    async def code(self):
        return None

    async def request(self):
        """The next one: its sound, and its parameters but for the sequence's."""
        request = await asyncio.wait_for(anext(self._coming), 10)
        fields = {name: value for name, value in request.parameters.items() if not name.startswith("sequence_")}
        sound = request.raw_input_contents[0] if request.inputs else b""
        return sound, {name: value.string_param for name, value in fields.items()}


def message(number):
    return bytes([number]) * MESSAGE


def partial(end, due):
    """What the server says once it has heard so many messages; due: the messages with which there is more to say."""
    return {
        "type": "partial",
        "start_sample": 0,
        "end_sample": end * MESSAGE // 2,
        "due_sample": due * MESSAGE // 2,
    }


@pytest.fixture(name="triton")
async def _triton():
    return Triton()


async def test_what_follows_within_the_time_goes_together_and_in_order(triton):
    session = LastingSession(triton, "name", gather_s=FOR_EVER_S)
    for number in range(1, 8):
        session.send(message(number))
    session.send(parameters={"command": "flush"})
    session.send(message(8))
    session.send(end=True)
    # Nobody waits for the first sound of all.
    assert await triton.request() == (message(1), {})
    assert await triton.request() == (b"".join(map(message, range(2, 8))), {})
    assert await triton.request() == (b"", {"command": "flush"})
    assert await triton.request() == (message(8), {})
    assert await triton.request() == (b"", {})
    await session.close()


async def test_as_much_as_is_spoken_in_the_time_does_not_wait(triton):
    session = LastingSession(triton, "name", gather_s=FOR_EVER_S)
    session.send(message(1))
    session._gather_s = 0.06
    session._passed_at = math.inf
    for number in range(2, 5):
        session.send(message(number))
    assert await triton.request() == (message(1), {})
    assert await triton.request() == (b"".join(map(message, range(2, 5))), {})
    await session.close()


async def test_the_last_sound_does_not_wait_for_more(triton):
    session = LastingSession(triton, "name", gather_s=0.05)
    session.send(message(1))
    session._passed_at = math.inf
    session.send(message(2))
    assert await triton.request() == (message(1), {})
    assert await triton.request() == (message(2), {})
    await session.close()


async def test_up_to_what_is_due_sound_goes_together_and_no_further(triton):
    session = LastingSession(triton, "name", gather_s=0.06)
    session.send(message(1))
    session._learn(partial(1, due=40))
    for number in range(2, 43):
        session.send(message(number))
        if number == 2:
            # Longer than sound may wait of which nothing is known.
            await asyncio.sleep(0.08)
    session._passed_at = math.inf
    assert await triton.request() == (message(1), {})
    assert await triton.request() == (b"".join(map(message, range(2, 41))), {})
    # What follows waits as long as any.
    assert await triton.request() == (b"".join(map(message, range(41, 43))), {})
    await session.close()


async def test_what_waits_already_waits_for_what_is_due(triton):
    session = LastingSession(triton, "name", gather_s=0.05)
    session.send(message(1))
    session._passed_at = math.inf
    session.send(message(2))
    session._learn(partial(1, due=40))
    assert await triton.request() == (message(1), {})
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(triton._coming.__anext__(), 0.12)
    await session.close()


async def test_what_is_due_waits_for_no_sound_that_does_not_come(triton):
    session = LastingSession(triton, "name", gather_s=0.05)
    session.send(message(1))
    session._passed_at = math.inf
    session._learn(partial(1, due=5))
    session.send(message(2))
    assert await triton.request() == (message(1), {})
    assert await triton.request() == (message(2), {})
    await session.close()


async def test_nothing_waits_longer_than_a_second_for_what_is_due(triton):
    session = LastingSession(triton, "name", gather_s=FOR_EVER_S)
    session.send(message(1))
    session._learn(partial(1, due=3_000))
    for number in range(2, 53):
        session.send(message(number))
    assert await triton.request() == (message(1), {})
    assert await triton.request() == (b"".join(map(message, range(2, 52))), {})
    await session.close()


async def test_where_each_message_is_a_request_nothing_waits_for_what_is_due(triton):
    session = LastingSession(triton, "name")
    session.send(message(1))
    session._learn(partial(1, due=50))
    session.send(message(2))
    assert await triton.request() == (message(1), {})
    assert await triton.request() == (message(2), {})
    await session.close()


async def test_what_is_due_already_goes_at_once(triton):
    session = LastingSession(triton, "name", gather_s=FOR_EVER_S)
    session.send(message(1))
    for number in range(2, 5):
        session.send(message(number))
    session._learn(partial(1, due=3))
    assert await triton.request() == (message(1), {})
    assert await triton.request() == (b"".join(map(message, range(2, 5))), {})
    await session.close()


async def test_a_second_is_counted_from_the_first_sound_that_waits(triton):
    session = LastingSession(triton, "name", gather_s=0.9)
    session.send(message(1))
    session.send(message(2))
    session._waiting_since -= 0.97
    session._learn(partial(1, due=3_000))
    assert await triton.request() == (message(1), {})
    assert await asyncio.wait_for(triton.request(), 0.5) == (message(2), {})
    await session.close()


@pytest.mark.parametrize("kind", ["speech_stopped", "final", "flushed", "reset"])
async def test_behind_an_utterance_nothing_is_due_any_more(triton, kind):
    session = LastingSession(triton, "name", gather_s=0.05)
    session.send(message(1))
    session._learn(partial(1, due=50))
    session._learn({"type": kind, "end_sample": MESSAGE // 2})
    assert session._due_s == 0.0
    await session.close()


async def test_what_is_said_of_sound_before_a_command_is_due_no_more(triton):
    session = LastingSession(triton, "name", gather_s=0.05)
    session.send(message(1))
    session.send(parameters={"partial_interval_ms": 100})
    session._learn(partial(1, due=50))
    assert session._due_s == 0.0
    session.send(message(2))
    session._learn(partial(2, due=50))
    assert session._due_s > 0.0
    await session.close()


async def test_commands_do_not_wait_for_what_is_due(triton):
    session = LastingSession(triton, "name", gather_s=FOR_EVER_S)
    session.send(message(1))
    session._learn(partial(1, due=50))
    session.send(message(2))
    session.send(parameters={"command": "flush"})
    assert await triton.request() == (message(1), {})
    assert await triton.request() == (message(2), {})
    assert await triton.request() == (b"", {"command": "flush"})
    await session.close()


async def test_what_waits_while_the_server_is_lost_goes_to_the_next_one_once(triton):
    session = LastingSession(triton, "name", triton, gather_s=FOR_EVER_S)
    session.send(message(1))
    session.send(message(2))
    await session._abandon()
    session.send(message(3))
    other = Triton()
    await session._go_on(other)
    session.send(parameters={"command": "flush"})
    again, _ = await other.request()
    assert again == b""
    assert await other.request() == (message(1), {})
    assert await other.request() == (message(2) + message(3), {})
    assert await other.request() == (b"", {"command": "flush"})
    await session.close()


async def test_nothing_goes_its_way_after_the_close(triton):
    session = LastingSession(triton, "name", gather_s=0.05)
    session.send(message(1))
    session._passed_at = math.inf
    session.send(message(2))
    await session.close()
    await asyncio.sleep(0.1)
    assert await triton.request() == (message(1), {})
    with pytest.raises(StopAsyncIteration):
        await triton.request()


async def test_samples_lie_across_messages_of_any_size(triton):
    session = LastingSession(triton, "name")
    sound = _Sound(session, FOR_EVER_S, Shortcut())
    data = bytes(range(256)) * 3_000
    sizes, place, sent = [1, 2, 3, 640, 0, 640, 5, 700_001, 12_800], 0, b""
    for size in sizes:
        part = data[place : place + size]
        place += size
        if not sound.take(part):
            await sound.pass_on(part)
    session.send(end=True)
    while True:
        part, _ = await triton.request()
        assert len(part) % 2 == 0
        sent += part
        if not part:
            break
    assert sent == data[: place // 2 * 2]
    await session.close()


async def test_a_client_that_is_ahead_of_the_clock_is_not_heard_without_a_pause(triton):
    session = LastingSession(triton, "name")
    sound = _Sound(session, 1.0, Shortcut())
    assert sound.take(bytes(32_000))
    assert sound.take(bytes(32_000))
    assert not sound.take(bytes(32_000))
    await session.close()


def test_delays_count_from_the_arrival_of_the_sound_that_is_covered():
    seen = []
    delays = Delays(lambda name, seconds: seen.append((name, round(seconds, 6))))
    for number in range(1, 11):
        delays.arrived(1_600, number / 10)
    partial = {"type": "partial", "utterance": 1, "start_sample": 1_600, "end_sample": 8_000}
    delays.told({"type": "opened"}, 0.55)
    delays.told(partial, 0.75)
    delays.told({**partial, "end_sample": 12_800}, 1.0)
    delays.told({**partial, "type": "final", "end_sample": 14_400}, 1.6)
    delays.told({**partial, "utterance": 2, "start_sample": 14_400, "end_sample": 16_000}, 1.7)
    assert seen == [
        ("first_partial", 0.55),
        ("partial", 0.25),
        ("partial", 0.2),
        ("final", 0.7),
        ("first_partial", 0.7),
        ("partial", 0.7),
    ]


def test_delays_of_an_endless_session_are_bounded():
    delays = Delays(lambda name, seconds: None)
    for number in range(100_000):
        delays.arrived(320, float(number))
    assert len(delays._samples) <= 6_000
    seen = []
    delays._observe = lambda name, seconds: seen.append(seconds)
    delays.told({"type": "final", "utterance": 1, "start_sample": 0, "end_sample": 32_000_000}, 100_000.0)
    assert seen == [1.0]
