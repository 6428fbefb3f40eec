"""What one live session may take from others, and what it loses when others fail, on the real Triton."""

import asyncio
import urllib.request

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from frontend.triton import probes
from frontend.triton.client import TritonClient
from frontend.triton.process import EmbeddedTriton
from perf.live_client import LiveClient
from tests.endings import stop_later
from tests.integration.asking import text
from tests.integration.repositories import linked_repository
from tests.integration.test_asr_stream import collected, fed, listen, of

TEXT = "four two seven nine zero one five"
# Seconds that asr_stream waits for the models that it asks.
RETRY_S = 6.0


@pytest.fixture(scope="module")
async def server(settings, tmp_path_factory):
    """With little patience for clients and for models."""
    changes = {"asr_stream": {"idle_s": "1.0", "retry_s": str(RETRY_S)}}
    repository = linked_repository(tmp_path_factory.mktemp("repository"), changes)
    made = EmbeddedTriton(settings.model_copy(update={"model_repository": repository}))
    await made.start()
    yield made
    stop_later(made)


@pytest.fixture(scope="module")
async def asking(server):
    made = TritonClient(server.url, lambda: server.control_key)
    yield made
    await made.close()


async def test_canaries_are_no_sessions_in_the_metrics(server, asking, english):
    """The first of this server's tests: nothing else was counted."""

    async def counts():
        page = (await asyncio.to_thread(urllib.request.urlopen, server.metrics_url, timeout=5)).read().decode()
        lines = [line.split(" ") for line in page.splitlines() if line.startswith("asr_stream_")]
        return {line[0].partition("{")[0]: float(line[1]) for line in lines}

    for ask in (probes.canary, probes.probe):
        assert await ask(asking.stub, "asr_stream", 30) is probes.Answer.ALIVE
    await listen(server.url, fed(english))
    while not (counted := await counts())["asr_stream_utterances_total"]:
        await asyncio.sleep(0.05)
    assert counted["asr_stream_sessions_begun_total"] == counted["asr_stream_utterances_total"] == 1
    assert counted["asr_stream_audio_seconds_total"] == pytest.approx(english.size / 16_000)


async def test_an_interval_below_the_floor_is_refused(server, english):
    async with LiveClient(server.url) as client:
        client.send(english, partial_interval_ms=20)
        with pytest.raises(InferenceServerException, match=r"INVALID_ARGUMENT: .*at least 100 on this server, not 20"):
            await asyncio.wait_for(collected(client), 10)


async def test_a_file_is_answered_between_the_steps_of_streams_that_come_at_once(server, asking, english):
    pcm = np.tile(english, 12)

    async def at_once(client):
        for start in range(0, pcm.size, 16_000):
            client.send(pcm[start : start + 16_000])

    streams = [
        asyncio.create_task(listen(server.url, at_once, vad="off", partial_interval_ms=100, max_utterance_s=10))
        for _ in range(4)
    ]
    assert await text(asking, english) == TEXT
    assert not any(stream.done() for stream in streams)
    for events in await asyncio.gather(*streams):
        assert of(events, "final")
        assert not of(events, "error")


async def test_settings_alone_hold_no_place(server):
    async with LiveClient(server.url) as client:
        listening = asyncio.create_task(collected(client))
        for number in range(200):
            client.send(None, silence_ms=600 + number)
            done, _ = await asyncio.wait([listening], timeout=0.1)
            if done:
                break
        events = await asyncio.wait_for(listening, 10)
    assert events[-1]["reason"] == "idle"


@pytest.mark.parametrize("end", [False, True])
async def test_a_session_that_is_over_is_not_known_and_says_so(server, end):
    async with LiveClient(server.url) as first:
        first.send(None)
        assert (await asyncio.wait_for(collected(first), 10))[-1]["reason"] == "idle"
        async with LiveClient(server.url) as later:
            later._sequence, later._started = first._sequence, True
            later.send(np.zeros(1_600, dtype=np.float32), end=end)
            event = await asyncio.wait_for(anext(later.events()), 10)
    assert (event["type"], event["code"], event["fatal"]) == ("error", "session_unknown", True)


async def test_a_stream_needs_no_room_of_those_that_only_files_need(server, asking, english):
    for room in ("vad", "features"):
        await asking.unload(room, alone=True)
    try:
        told = await listen(server.url, fed(np.concatenate([english, np.zeros(16_000, dtype=np.float32), english])))
    finally:
        for room in ("vad", "features"):
            await asking.load(room, 30)
    assert [event["text"] for event in of(told, "final")] == [TEXT, TEXT]
    assert not of(told, "error")


async def test_a_long_outage_of_the_decoder_is_told_and_costs_the_open_utterance_alone(server, asking, english):
    async with LiveClient(server.url) as client:
        events = client.events()

        async def until(kind):
            while (event := await asyncio.wait_for(anext(events), 4 * RETRY_S))["type"] != kind:
                pass
            return event

        await fed(english[: english.size // 2])(client)
        await until("partial")
        await asking.unload("decoder", alone=True)
        try:
            client.send(english[english.size // 2 :], command="flush")
            lost = await until("error")
        finally:
            loading = asyncio.create_task(asking.load("decoder", 30))
        # On a busy machine it may take longer than an utterance waits for it.
        while not loading.done():
            await fed(np.zeros(1_600, dtype=np.float32), pause_s=0.1)(client)
        await loading
        assert (lost["code"], lost["fatal"], lost["utterance"]) == ("unavailable", False, 1)
        await fed(english)(client)
        client.send(None, end=True)
        final = await until("final")
        assert (final["text"], final["utterance"]) == (TEXT, 2)
