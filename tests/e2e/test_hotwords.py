"""Hotwords as users give them: in a form, by a list's name, live; nobody else's text changes."""

import asyncio
import json

import httpx
import pytest

from tests.conftest import RECORDINGS
from tests.e2e.test_live import ENGLISH, events_of, feed, s16, socket
from tests.e2e.test_realtime import COMPLETED, Client

OTHER = "four two seven nine zero one nine"
PLACES = "/v1/audio/transcriptions"
STRONG = json.dumps([{"phrase": OTHER, "weight": 10}])


def asked(service, **fields):
    data = {"model": "whisper-1", **fields}
    file = ("english.flac", (RECORDINGS / "english.flac").read_bytes())
    return httpx.post(service.url + PLACES, data=data, files={"file": file}, timeout=60)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"hotwords": STRONG}, OTHER),
        ({"hotword_lists[]": "numbers"}, OTHER),
        ({"hotword_lists": "numbers"}, OTHER),
        ({"hotwords": "three three three, nine nine nine"}, ENGLISH),
        ({"keywords[]": ["three three three"]}, ENGLISH),
        ({"hotwords": ""}, ENGLISH),
        ({"hotwords": STRONG, "language": "en"}, OTHER),
        ({"hotwords": STRONG, "response_format": "verbose_json"}, OTHER),
        ({"hotwords": json.dumps([{"phrase": f"{ENGLISH} three", "weight": 0.5}])}, ENGLISH),
    ],
)
def test_a_phrase_is_written_whole_or_not_at_all(service, fields, text):
    answer = asked(service, **fields)
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"] == text


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("hotwords", {"hotwords": "[1]"}),
        ("hotwords", {"hotwords": '[{"phrase": "x", "weight": 11}]'}),
        ("hotwords", {"hotwords": '[{"phrase": "x", "weight": NaN}]'}),
        ("hotwords", {"hotwords": json.dumps(["x" * 101])}),
        ("hotwords", {"hotwords": json.dumps([str(number) for number in range(201)])}),
        ("hotwords", {"hotwords": "[" * 5_000}),
        ("hotword_lists", {"hotword_lists[]": "nobody"}),
        ("hotword_lists", {"hotword_lists[]": "../numbers"}),
        ("hotword_lists", {"hotword_lists[]": "wrong"}),
        ("hotword_lists", {"hotword_lists[]": ["numbers"] * 11}),
    ],
)
def test_what_is_wrong_is_told_with_its_field(service, field, fields):
    answer = asked(service, **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field


async def test_live_sessions_have_hotwords(service, english):
    async with socket(service, "/ws/transcribe?hotword_lists=numbers") as ws:
        listening = asyncio.create_task(events_of(ws))
        await feed(ws, s16(english))
        await ws.send(json.dumps({"action": "flush"}))
        # The list stays where only phrases change.
        await ws.send(json.dumps({"action": "config", "hotwords": []}))
        await feed(ws, s16(english))
        await ws.send(json.dumps({"action": "flush"}))
        await ws.send(json.dumps({"action": "config", "hotword_lists": []}))
        await feed(ws, s16(english))
        await ws.send(json.dumps({"action": "config", "hotwords": [{"phrase": 1}]}))
        await ws.send(json.dumps({"action": "config", "hotword_lists": ["nobody"]}))
        await ws.send(json.dumps({"action": "end"}))
        events = await asyncio.wait_for(listening, 30)
    assert [event["text"] for event in events if event["type"] == "final"] == [OTHER, OTHER, ENGLISH]
    assert [event["fatal"] for event in events if event["type"] == "error"] == [False, False]


async def test_a_realtime_session_has_hotwords(service, english):
    async with Client(service) as client:
        sound = {"format": {"type": "audio/pcm", "rate": 16_000}, "turn_detection": None}
        words = {"hotwords": [{"phrase": OTHER, "weight": 10}]}
        await client.update(**sound, transcription={"model": "whisper-1", **words})
        updated = (await client.until("session.updated"))[-1]["session"]["audio"]["input"]["transcription"]
        assert updated["hotwords"] == words["hotwords"]
        await client.append(s16(english))
        await client.commit()
        assert (await client.until(COMPLETED))[-1]["transcript"] == OTHER
        await client.update(transcription={"hotword_lists": ["nobody"]})
        refused = (await client.until("error"))[-1]["error"]
        assert refused["param"] == "session.audio.input.transcription.hotword_lists"
