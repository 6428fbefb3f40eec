"""Live speech through the frontend: the plain WebSocket and OpenAI's Realtime client, unchanged."""

import asyncio
import base64
import json

import jsonschema
import numpy as np
import pytest
from websockets.asyncio.client import connect

from tests.conftest import ROOT

ENGLISH = "four two seven nine zero one five"
SCHEMA = json.loads((ROOT / "model_repository" / "asr_stream" / "events.schema.json").read_text())


def s16(pcm):
    return np.round(np.clip(pcm, -1, 1) * 32_767).astype("<i2").tobytes()


def socket(service, path="/ws/transcribe"):
    return connect(service.url.replace("http", "ws") + path, max_size=None)


async def events_of(ws):
    return [json.loads(message) async for message in ws]


async def feed(ws, data, chunk=3_200, pause_s=0.01):
    for start in range(0, len(data), chunk):
        await ws.send(data[start : start + chunk])
        await asyncio.sleep(pause_s)


async def test_captions(service, english):
    async with socket(service) as ws:
        listening = asyncio.create_task(events_of(ws))
        await ws.send(json.dumps({"action": "config", "partial_interval_ms": 200}))
        # An odd number of bytes: samples lie across messages.
        await feed(ws, s16(english), chunk=3_001)
        await ws.send(json.dumps({"action": "end"}))
        events = await asyncio.wait_for(listening, 30)
    for event in events:
        jsonschema.validate(event, SCHEMA)
    assert [event["text"] for event in events if event["type"] == "final"] == [ENGLISH]
    assert sum(event["type"] == "partial" for event in events) >= 3
    assert events[-1]["type"] == "closed"
    assert ws.close_code == 1000


async def test_flush_loses_nothing_and_reset_forgets(service, english):
    async with socket(service) as ws:
        listening = asyncio.create_task(events_of(ws))
        await feed(ws, s16(english[:40_000]))
        await ws.send(json.dumps({"action": "flush"}))
        await feed(ws, s16(english[40_000:54_000]))
        await ws.send(json.dumps({"action": "reset"}))
        await feed(ws, s16(english))
        await ws.send(json.dumps({"action": "flush"}))
        await ws.send(json.dumps({"action": "end"}))
        events = await asyncio.wait_for(listening, 30)
    finals = [event["text"] for event in events if event["type"] == "final"]
    assert finals[0].startswith("four two seven")
    assert finals[-1] == ENGLISH
    assert [event["type"] for event in events].count("flushed") == 2


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("no json", "must be a json object"),
        ('["flush"]', "action must be one of"),
        ('{"action": "dance"}', "action must be one of"),
        ('{"action": "config"}', "names no setting"),
        ('{"action": "config", "threshold": [1]}', "threshold must be"),
        ('{"action": "config", "threshold": 9}', "threshold must lie between"),
        ('{"action": "config", "language": "Klingon"}', "unknown language"),
    ],
)
async def test_mistakes_are_told_and_the_session_goes_on(service, english, message, problem):
    async with socket(service) as ws:
        listening = asyncio.create_task(events_of(ws))
        await feed(ws, s16(english[:8_000]))
        await ws.send(message)
        await feed(ws, s16(english[8_000:]))
        await ws.send(json.dumps({"action": "end"}))
        events = await asyncio.wait_for(listening, 30)
    errors = [event for event in events if event["type"] == "error"]
    assert len(errors) == 1
    assert problem in errors[0]["message"]
    assert not errors[0]["fatal"]
    assert [event["text"] for event in events if event["type"] == "final"] == [ENGLISH]


async def test_a_wrong_setting_in_the_address_ends_the_session(service):
    async with socket(service, "/ws/transcribe?volume=11") as ws:
        event = json.loads(await asyncio.wait_for(ws.recv(), 10))
        await asyncio.wait_for(ws.wait_closed(), 10)
    assert "unknown parameter 'volume'" in event["message"]
    assert ws.close_code == 1008


async def test_many_sockets_at_once(service, english):
    async def one():
        async with socket(service, "/ws/transcribe?language=en") as ws:
            listening = asyncio.create_task(events_of(ws))
            await feed(ws, s16(english), pause_s=0.05)
            await ws.send(json.dumps({"action": "end"}))
            events = await asyncio.wait_for(listening, 60)
        return " ".join(event["text"] for event in events if event["type"] == "final")

    assert set(await asyncio.gather(*(one() for _ in range(12)))) == {ENGLISH}


def resampled(pcm, rate):
    position = np.arange(0, pcm.size - 1, 16_000 / rate)
    return np.interp(position, np.arange(pcm.size), pcm)


async def append(connection, data, chunk=4_800):
    for start in range(0, len(data), chunk):
        audio = base64.b64encode(data[start : start + chunk]).decode()
        await connection.input_audio_buffer.append(audio=audio)
        await asyncio.sleep(0.01)


async def until(connection, kind, timeout_s=30):
    events = []
    while not events or events[-1].type != kind:
        events.append(await asyncio.wait_for(connection.recv(), timeout_s))
    return events


COMPLETED = "conversation.item.input_audio_transcription.completed"
DELTA = "conversation.item.input_audio_transcription.delta"


async def test_realtime_with_server_vad(async_openai_client, english):
    async with async_openai_client.realtime.connect(
        model="gpt-4o-transcribe", extra_query={"intent": "transcription"}
    ) as connection:
        session = {
            "type": "transcription",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24_000},
                    "transcription": {"model": "gpt-4o-transcribe", "language": "en", "prompt": "digits"},
                    "turn_detection": {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 400},
                }
            },
        }
        await connection.session.update(session=session)
        assert (await until(connection, "session.updated"))[0].type == "session.created"
        await append(connection, s16(resampled(np.concatenate([english, np.zeros(16_000)]), 24_000)))
        events = await until(connection, COMPLETED)
    kinds = [event.type for event in events if event.type != DELTA]
    assert kinds == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        COMPLETED,
    ]
    assert events[-1].transcript == ENGLISH
    assert "".join(event.delta for event in events if event.type == DELTA) == ENGLISH
    assert len({event.item_id for event in events if hasattr(event, "item_id")}) == 1


@pytest.mark.parametrize("kind", ["audio/pcm", "audio/pcmu", "audio/pcma"])
async def test_realtime_with_turns_of_the_client(async_openai_client, english, kind):
    sound = {"type": kind, "rate": 16_000} if kind == "audio/pcm" else {"type": kind}
    data = s16(english) if kind == "audio/pcm" else g711(resampled(english, 8_000), kind)
    async with async_openai_client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        await connection.session.update(
            session={"type": "transcription", "audio": {"input": {"format": sound, "turn_detection": None}}}
        )
        await until(connection, "session.updated")
        await append(connection, data)
        await connection.input_audio_buffer.commit()
        events = await until(connection, COMPLETED)
        heard, expected = events[-1].transcript.split(), ENGLISH.split()
        assert len(heard) == len(expected)
        assert sum(a == b for a, b in zip(heard, expected, strict=True)) >= 6
        # Cleared audio is not transcribed.
        await append(connection, data[: len(data) // 2])
        await connection.input_audio_buffer.clear()
        await until(connection, "input_audio_buffer.cleared")
        await connection.input_audio_buffer.commit()
        error = (await until(connection, "error"))[-1].error
        assert error.code == "input_audio_buffer_commit_empty"


def g711(pcm, kind):
    import av

    codec = av.CodecContext.create("pcm_mulaw" if kind == "audio/pcmu" else "pcm_alaw", "w")
    codec.sample_rate, codec.format, codec.layout = 8_000, "s16", "mono"
    frame = av.AudioFrame.from_ndarray(np.frombuffer(s16(pcm), dtype="<i2")[None, :], format="s16", layout="mono")
    frame.sample_rate = 8_000
    return b"".join(bytes(packet) for packet in codec.encode(frame) + codec.encode(None))


@pytest.mark.parametrize(
    ("event", "param", "code"),
    [
        ({"type": "response.create"}, "type", None),
        ({"type": "session.update", "session": {"type": "realtime"}}, "session.type", None),
        (
            {
                "type": "session.update",
                "session": {"type": "transcription", "audio": {"input": {"transcription": {"model": "nothing"}}}},
            },
            "session.audio.input.transcription.model",
            "model_not_found",
        ),
        (
            {
                "type": "session.update",
                "session": {"type": "transcription", "audio": {"input": {"format": {"type": "audio/mp3"}}}},
            },
            "session.audio.input.format.type",
            None,
        ),
        ({"type": "input_audio_buffer.append", "audio": "§§"}, "audio", None),
        ({"type": "input_audio_buffer.commit"}, None, "input_audio_buffer_commit_empty"),
    ],
)
async def test_realtime_mistakes_are_error_events(service, event, param, code):
    async with socket(service, "/v1/realtime?intent=transcription") as ws:
        assert json.loads(await ws.recv())["type"] == "session.created"
        await ws.send(json.dumps({**event, "event_id": "mine"}))
        answer = json.loads(await asyncio.wait_for(ws.recv(), 10))
        assert answer["type"] == "error"
        assert (answer["error"]["param"], answer["error"]["code"]) == (param, code)
        assert answer["error"]["event_id"] == "mine"
        await ws.send("no json")
        assert json.loads(await asyncio.wait_for(ws.recv(), 10))["type"] == "error"


@pytest.mark.parametrize("name", ["sequence_id", "sequence_start", "sequence_end", "priority", "timeout"])
async def test_no_setting_can_be_one_of_tritons_own(service, name):
    async with socket(service, f"/ws/transcribe?{name}=1") as ws:
        event = json.loads(await asyncio.wait_for(ws.recv(), 10))
        assert event["type"] == "error"
        assert name in event["message"]
        assert event["fatal"] is True
    async with socket(service) as ws:
        await ws.send(json.dumps({"action": "config", name: 1}))
        await ws.send(json.dumps({"action": "end"}))
        events = await asyncio.wait_for(events_of(ws), 10)
    assert [event for event in events if event["type"] == "error" and name in event["message"]]
    assert events[-1]["type"] == "closed"
