"""Steps of live sessions that the decoder's process took with it when it died, without a frontend that knows of it."""

import asyncio
import signal
import time

import grpc
import numpy as np
import pytest

from export.rooms import room
from frontend.triton.client import TritonClient
from frontend.triton.process import EmbeddedTriton
from perf.live_client import LiveClient
from tests.integration.test_asr_stream import of
from tests.integration.test_watching import process_of

channel_room, losses_room, processes_room = (room("asr_stream", name) for name in ("channel", "losses", "processes"))
rooms_room, wire_room = room("asr_stream", "triton_rooms"), room("asr_stream", "wire")
SESSIONS = 16
# A step may take 30 s, which is how long one that nobody answers would be waited for.
SOON_S = 15.0


@pytest.fixture
async def server(settings):
    """One of its own: what dies under load may take a Triton with it."""
    made = EmbeddedTriton(settings)
    await made.start()
    yield made
    await made.stop()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_who_waits_for_a_model_whose_process_dies_or_is_stopped_is_told_so(server, english, number):
    """By what asr_stream asks with, of a request that is in the decoder for certain: it makes 2,000 tokens."""
    channel = grpc.aio.insecure_channel(server.url, options=channel_room.CHANNEL_OPTIONS)
    wire = wire_room.Wire(channel, "test")
    processes = processes_room.Processes(server.pid)
    # As a look before has seen it.
    assert not processes.gone({"decoder"})
    losses = losses_room.Losses(channel, wire, processes)
    watching = asyncio.create_task(losses.watch())
    request = rooms_room._request("asr", PCM=english)
    request.parameters["deltas"].bool_param = False
    for name in ("min_new_tokens", "max_new_tokens"):
        request.parameters[name].int64_param = 2_000
    asked = asyncio.create_task(wire.ask(request, 60.0))
    try:
        await asyncio.sleep(0.3)
        assert not asked.done()
        process_of(server, "decoder").send_signal(number)
        with pytest.raises(Exception, match="asr: the process of decoder is gone"):
            await asyncio.wait_for(asked, SOON_S)
    finally:
        watching.cancel()
        await wire.close()
        await channel.close()


async def test_steps_under_way_in_a_decoder_that_dies_are_asked_again_as_soon_as_it_is_back(server, english):
    asking = TritonClient(server.url, lambda: server.control_key)
    pcm = np.tile(english, 8)
    text = "four two seven nine zero one five"
    begun = asyncio.Event()

    async def session():
        """Its events."""
        async with LiveClient(server.url) as client:

            async def speak():
                for start in range(0, pcm.size, 8_000):
                    client.send(pcm[start : start + 8_000], partial_interval_ms=100, max_utterance_s=8)
                    await asyncio.sleep(0.1)
                client.send(None, end=True)

            speaking = asyncio.create_task(speak())
            events = []
            async for event in client.events():
                events.append(event)
                if event["type"] == "partial":
                    begun.set()
            await speaking
            return events

    sessions = [asyncio.create_task(session()) for _ in range(SESSIONS)]
    try:
        await asyncio.wait_for(begun.wait(), 30)
        await asyncio.sleep(1.0)
        process_of(server, "decoder").send_signal(signal.SIGKILL)
        await asyncio.sleep(1.0)
        await asking.unload("decoder", alone=True)
        await asking.load("decoder", 30)
        back = time.monotonic()
        told = await asyncio.wait_for(asyncio.gather(*sessions), 60)
        took_s = time.monotonic() - back
    finally:
        for one in sessions:
            one.cancel()
        await asking.close()
    for events in told:
        assert not of(events, "error")
        assert text in " ".join(event["text"] for event in of(events, "final"))
    assert took_s < SOON_S
