"""Live finals as they are to be written: by WebSocket and Realtime, corrected later, and when a server is lost."""

import asyncio
import json
import signal

import numpy as np
import pytest
import websockets

from perf.service import running_service
from tests.e2e.test_healing import process_of
from tests.e2e.test_live import feed, s16
from tests.e2e.test_realtime import COMPLETED, DELTA, PCM_16, Client
from tests.e2e.test_wording import WRITTEN, asked_until_answered
from tests.e2e.test_words import ENGLISH, check_words
from tests.endings import ended_later

CORRECTED = "conversation.item.input_audio_transcription.corrected"


@pytest.fixture(autouse=True)
def manner(chat):
    chat.manner = "good"


async def spoken(service, pcm, query="", **settings):
    """Events of a session by WebSocket that hears a recording."""
    async with websockets.connect(f"ws{service.url.removeprefix('http')}/ws/transcribe{query}") as socket:
        listening = asyncio.create_task(_all(socket))
        if settings:
            await socket.send(json.dumps({"action": "config", **settings}))
        await feed(socket, s16(np.concatenate([pcm, np.zeros(16_000, dtype=np.float32)])), 6_400)
        await socket.send(json.dumps({"action": "end"}))
        return await asyncio.wait_for(listening, 60)


async def _all(socket):
    return [json.loads(message) async for message in socket]


def of(events, kind):
    return [event for event in events if event["type"] == kind]


class TestLive:
    async def test_a_final_is_written_and_partials_are_not(self, service, english):
        events = await spoken(service, english, "?text_format=written&partial_interval_ms=200", word_timestamps="event")
        (final,) = of(events, "final")
        assert (final["text"], final["recognized"], final["revised"]) == (WRITTEN, ENGLISH, True)
        assert all(ENGLISH.startswith(event["stable"]) for event in of(events, "partial"))
        (told,) = of(events, "words")
        check_words(told["words"], WRITTEN, final["end"] + 0.01)

    async def test_words_inside_of_a_final_are_the_written_ones(self, service, english):
        (final,) = of(await spoken(service, english, text_format="written", word_timestamps="final"), "final")
        check_words(final["words"], WRITTEN, final["end"] + 0.01)

    async def test_a_final_goes_out_at_once_and_is_corrected_later(self, worded, chat, english):
        asked_until_answered(worded, correct="true")
        events = await spoken(worded, english, correct="true", filters=["fives"])
        (final,) = of(events, "final")
        assert final["text"] == "four two seven nine zero one f***"
        assert final["correction_follows"] is True
        (corrected,) = of(events, "corrected")
        assert (corrected["utterance"], corrected["text"]) == (1, "Four two seven nine zero one f***.")
        kinds = [event["type"] for event in events]
        assert kinds.index("final") < kinds.index("corrected") < kinds.index("closed")

    async def test_a_slow_endpoint_holds_no_final_up_and_ends_in_time(self, worded, chat, english):
        asked_until_answered(worded, correct="true")
        chat.manner = "slow"
        events = await spoken(worded, english, correct="true")
        chat.manner = "good"
        (corrected,) = of(events, "corrected")
        assert corrected["text"] == ENGLISH
        assert corrected["correction_error"]
        assert events[-1]["type"] == "closed"

    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            ({"text_format": "spoken"}, "text_format must be one of"),
            ({"filters": "poetry"}, "there is no filter 'poetry'"),
            ({"correct": "true"}, "no chat endpoint is set"),
            ({"phonetic": [1]}, "phonetic must be"),
        ],
    )
    async def test_a_mistake_is_told_and_the_session_goes_on(self, service, english, settings, problem):
        events = await spoken(service, english, **settings)
        (error,) = of(events, "error")
        assert problem in error["message"]
        assert not error["fatal"]
        assert [event["text"] for event in of(events, "final")] == [ENGLISH]

    async def test_a_mistake_in_the_address_ends_it(self, service):
        async with websockets.connect(f"ws{service.url.removeprefix('http')}/ws/transcribe?mask=some") as socket:
            event = json.loads(await asyncio.wait_for(socket.recv(), 10))
            await asyncio.wait_for(socket.wait_closed(), 10)
        assert "mask must be one of" in event["message"]
        assert socket.close_code == 1008


class TestRealtime:
    async def test_a_transcript_is_written_and_deltas_are_not(self, service, english):
        async with Client(service) as client:
            transcription = {"model": "whisper-1", "text_format": "written"}
            await client.update(format=PCM_16, turn_detection=None, transcription=transcription)
            for _ in range(2):
                await client.append(s16(english))
                await client.commit()
            events = await client.until(COMPLETED, count=2)
        updated = next(event for event in events if event["type"] == "session.updated")
        assert updated["session"]["audio"]["input"]["transcription"]["text_format"] == "written"
        completed = [event for event in events if event["type"] == COMPLETED]
        assert [(event["transcript"], event["recognized"]) for event in completed] == [(WRITTEN, ENGLISH)] * 2
        for one in completed:
            deltas = [e["delta"] for e in events if e["type"] == DELTA and e["item_id"] == one["item_id"]]
            assert "".join(deltas) == ENGLISH

    async def test_a_correction_follows(self, worded, chat, english):
        asked_until_answered(worded, correct="true")
        async with Client(worded) as client:
            await client.update(format=PCM_16, turn_detection=None, transcription={"correct": "punctuation"})
            await client.append(s16(english))
            await client.commit()
            events = await client.until(CORRECTED)
        done = next(event for event in events if event["type"] == COMPLETED)
        assert done["transcript"] == ENGLISH
        assert (events[-1]["item_id"], events[-1]["text"]) == (done["item_id"], ENGLISH.capitalize() + ".")

    async def test_a_mistake_names_its_field(self, service):
        async with Client(service) as client:
            await client.update(transcription={"filters": ["poetry"]})
            (error,) = [event["error"] for event in await client.until("error") if event["type"] == "error"]
            assert error["param"] == "session.audio.input.transcription.filters"
            await client.update(transcription={"correct": "true"})
            error = (await client.until("error"))[-1]["error"]
        assert (error["param"].rpartition(".")[2], error["code"]) == ("correct", "correction_unavailable")


@pytest.mark.timeout(180)
async def test_a_session_that_goes_on_elsewhere_has_each_final_once_as_it_is_written(english, tmp_path_factory):
    """What is sent again is found by what was recognized, not by what was told."""
    with ended_later(running_service(ASR_CACHE_DIR=str(tmp_path_factory.mktemp("cache")))) as healing:
        url = f"ws{healing.url.removeprefix('http')}/ws/transcribe?text_format=written&partial_interval_ms=200"
        pcm = s16(np.concatenate([english, np.zeros(16_000, dtype=np.float32)]))
        async with websockets.connect(url) as socket:
            await feed(socket, pcm, 6_400, 0.02)
            events = []
            async with asyncio.timeout(60):
                while not of(events, "final"):
                    events.append(json.loads(await socket.recv()))
                await feed(socket, pcm[: len(pcm) // 2], 6_400, 0.02)
                while events[-1]["type"] != "partial":
                    events.append(json.loads(await socket.recv()))
            process_of(healing, "asr_stream").send_signal(signal.SIGKILL)
            await feed(socket, pcm[len(pcm) // 2 :], 6_400, 0.02)
            await socket.send('{"action": "end"}')
            events += await asyncio.wait_for(_all(socket), 90)
    assert of(events, "resumed")
    finals = [(event["utterance"], event["text"], event["recognized"]) for event in of(events, "final")]
    assert finals == [(1, WRITTEN, ENGLISH), (2, WRITTEN, ENGLISH)]
