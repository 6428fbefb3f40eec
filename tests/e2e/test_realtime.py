"""OpenAI's Realtime API as clients speak it, and as they should not."""

import asyncio
import base64
import json

import numpy as np
import pytest
from websockets.asyncio.client import connect

from frontend.api.realtime_events import MAX_APPEND_BYTES
from tests.e2e.test_live import ENGLISH, resampled, s16

COMPLETED = "conversation.item.input_audio_transcription.completed"
DELTA = "conversation.item.input_audio_transcription.delta"


class Client:
    """Sends events as they are given and keeps what comes."""

    def __init__(self, service, query="intent=transcription"):
        self._address = f"{service.url.replace('http', 'ws', 1)}/v1/realtime?{query}"
        self.events = []

    async def __aenter__(self):
        self.socket = await connect(self._address, max_size=None)
        return self

    async def __aexit__(self, *_):
        await self.socket.close()

    async def send(self, **event):
        await self.socket.send(json.dumps(event))

    async def update(self, **sound):
        session = {"type": "transcription", "audio": {"input": sound}}
        await self.send(type="session.update", session=session)

    async def append(self, data, chunk=2_400, pause_s=0.005):
        for start in range(0, len(data), chunk):
            audio = base64.b64encode(data[start : start + chunk]).decode()
            await self.send(type="input_audio_buffer.append", audio=audio)
            # A tenth of the pace of speech, so that partials come as well.
            await asyncio.sleep(pause_s)

    async def commit(self):
        await self.send(type="input_audio_buffer.commit")

    async def until(self, kind, count=1, timeout_s=60):
        """The events up to the last of so many of this kind."""
        found = []
        while sum(event["type"] == kind for event in found) < count:
            found.append(json.loads(await asyncio.wait_for(self.socket.recv(), timeout_s)))
        self.events += found
        return found


def errors_of(events):
    return [event["error"] for event in events if event["type"] == "error"]


PCM_16 = {"type": "audio/pcm", "rate": 16_000}


async def test_turns_may_follow_each_other_before_anything_is_heard(service, english):
    data = s16(english)
    async with Client(service) as client:
        await client.update(format=PCM_16, turn_detection=None)
        await client.append(data, chunk=len(data))
        await client.commit()
        await client.append(data, chunk=len(data))
        # What is said of the first turn now is none of the second, which is here already.
        events = await client.until("conversation.item.added")
        await client.commit()
        for _ in range(2):
            await client.append(data, chunk=len(data))
            await client.commit()
        events += await client.until(COMPLETED, count=4)
    assert not errors_of(events)
    committed = [event for event in events if event["type"] == "input_audio_buffer.committed"]
    completed = [event for event in events if event["type"] == COMPLETED]
    assert [event["transcript"] for event in completed] == [ENGLISH] * 4
    assert [event["item_id"] for event in completed] == [event["item_id"] for event in committed]
    before = [event["previous_item_id"] for event in committed]
    assert before == [None, *(event["item_id"] for event in committed[:-1])]


async def test_one_append_may_be_a_turn_of_minutes(service, english):
    """asr_stream takes a minute at a time, and cuts utterances after half of one: the turn is one item all the same."""
    times = 20
    data = s16(np.tile(np.concatenate([english, np.zeros(3_200)]), times))
    async with Client(service) as client:
        await client.update(format=PCM_16, turn_detection=None)
        await client.append(data, chunk=len(data))
        await client.commit()
        await client.append(s16(english))
        await client.commit()
        events = await client.until(COMPLETED, count=2)
    assert not errors_of(events)
    long, short = [event for event in events if event["type"] == COMPLETED]
    deltas = [event["delta"] for event in events if event["type"] == DELTA and event["item_id"] == long["item_id"]]
    assert abs(long["usage"]["seconds"] - len(data) / 32_000) < 0.1
    # The tiny model was made for clips of less than half a minute; most of it is there.
    assert long["transcript"].split().count("seven") > 0.6 * times
    assert long["transcript"].startswith("".join(deltas)[:40])
    assert short["transcript"] == ENGLISH
    assert len({event["item_id"] for event in events if event["type"] == "input_audio_buffer.committed"}) == 2


async def test_an_append_may_be_as_large_as_openai_has_it(service, english):
    quiet = base64.b64encode(bytes(MAX_APPEND_BYTES)).decode()
    async with Client(service) as client, Client(service) as beside:
        await client.send(type="input_audio_buffer.append", audio=quiet)
        await client.append(s16(resampled(np.concatenate([english, np.zeros(16_000)]), 24_000)), chunk=96_000)
        await beside.update(format=PCM_16, turn_detection=None)
        await beside.append(s16(english))
        await beside.commit()
        others = await beside.until(COMPLETED)
        events = await client.until(COMPLETED)
        await client.send(type="input_audio_buffer.append", audio=quiet + "AAAA", event_id="more")
        (error,) = errors_of(await client.until("error"))
    assert not errors_of(events + others)
    assert events[-1]["transcript"] == others[-1]["transcript"] == ENGLISH
    started = next(event for event in events if event["type"] == "input_audio_buffer.speech_started")
    # The clock knows all of it.
    assert started["audio_start_ms"] > 1000 * MAX_APPEND_BYTES / 48_000
    assert (error["param"], error["event_id"]) == ("audio", "more")


async def test_a_turn_without_words_is_a_turn(service):
    async with Client(service) as client:
        await client.append(bytes(24_000))
        await client.commit()
        events = await client.until(COMPLETED)
    assert events[-1]["transcript"] == ""
    committed = next(event for event in events if event["type"] == "input_audio_buffer.committed")
    assert committed["item_id"] == events[-1]["item_id"]


def update(**sound):
    return {"type": "session.update", "session": {"type": "transcription", "audio": {"input": sound}}}


INPUT = "session.audio.input"
# What a client might send, and the field that is at fault.
WRONG = [
    ({"type": 7}, "type"),
    ({}, "type"),
    ({"type": "x" * 100_000}, "type"),
    ({"type": "\ud800"}, "type"),
    ({"type": "response.create"}, "type"),
    ({"type": "session.update"}, "session"),
    ({"type": "session.update", "session": []}, "session"),
    ({"type": "session.update", "session": {"type": ["transcription"]}}, "session.type"),
    ({"type": "session.update", "session": {"audio": 1}}, "session.audio"),
    ({"type": "session.update", "session": {"audio": {"input": "pcm"}}}, INPUT),
    ({"type": "session.update", "session": {"include": [[]]}}, "session.include"),
    (update(format={"type": ["audio/pcm"]}), f"{INPUT}.format.type"),
    (update(format={"type": "audio/pcm", "rate": {}}), f"{INPUT}.format.rate"),
    (update(format={"type": "audio/pcm", "rate": True}), f"{INPUT}.format.rate"),
    (update(transcription=[]), f"{INPUT}.transcription"),
    (update(transcription={"model": {"name": "whisper-1"}}), f"{INPUT}.transcription.model"),
    (update(transcription={"model": "whisper-2"}), f"{INPUT}.transcription.model"),
    (update(transcription={"language": "tlh"}), f"{INPUT}.transcription.language"),
    (update(transcription={"language": "\udfff"}), f"{INPUT}.transcription.language"),
    (update(transcription={"languages": "en"}), f"{INPUT}.transcription.languages"),
    (update(transcription={"languages": [None]}), f"{INPUT}.transcription.languages"),
    (update(transcription={"prompt": {"text": "x"}}), f"{INPUT}.transcription.prompt"),
    (update(transcription={"prompt": "x" * 200_000}), f"{INPUT}.transcription.prompt"),
    (update(transcription={"keywords": ["x" * 30_000]}), f"{INPUT}.transcription.keywords"),
    # Within what may be sent, and more than the decoder takes, which it says later.
    (update(transcription={"prompt": "one two three " * 1_000}), f"{INPUT}.transcription.prompt"),
    (update(transcription={"delay": "long"}), f"{INPUT}.transcription.delay"),
    (update(turn_detection="server_vad"), f"{INPUT}.turn_detection"),
    (update(turn_detection={"type": "semantic_vad"}), f"{INPUT}.turn_detection.type"),
    (update(turn_detection={"threshold": 10**300}), f"{INPUT}.turn_detection.threshold"),
    (update(turn_detection={"silence_duration_ms": "500"}), f"{INPUT}.turn_detection.silence_duration_ms"),
    (update(noise_reduction={"type": "none"}), f"{INPUT}.noise_reduction.type"),
    ({"type": "input_audio_buffer.append"}, "audio"),
    ({"type": "input_audio_buffer.append", "audio": ["AAAA"]}, "audio"),
    ({"type": "input_audio_buffer.append", "audio": "AAA"}, "audio"),
    ({"type": "input_audio_buffer.append", "audio": "§§§§"}, "audio"),
    ({"type": "input_audio_buffer.append", "audio": "A" * 100_000 + "====" + "A" * 600_000}, "audio"),
    ({"type": "input_audio_buffer.append", "audio": "A" * 700_000 + "§"}, "audio"),
    ({"type": "input_audio_buffer.commit"}, None),
]
# What is no event at all.
NO_EVENTS = [
    "",
    "no json",
    "[]",
    "null",
    '"session.update"',
    '{"type": NaN}',
    '{"type": "input_audio_buffer.clear", "event_id": Infinity}',
    '{"type": ' + "9" * 10_000 + "}",
    "[" * 200_000,
    '{"type":' * 50_000,
    b"\x00\x01\x02",
    b'{"type": "input_audio_buffer.clear"}',
]


async def test_whatever_is_wrong_is_told_and_harms_nobody(service, english):
    async with Client(service) as wrong, Client(service) as beside:
        for client in (wrong, beside):
            await client.update(format=PCM_16, turn_detection=None)
            await client.until("session.updated")
        speaking = asyncio.create_task(beside.append(s16(english)))
        for number, (event, param) in enumerate(WRONG):
            await wrong.send(**event, event_id=f"mine_{number}")
            events = await wrong.until("error")
            assert events[-1]["error"]["param"] == param, event
            assert events[-1]["error"]["event_id"] == f"mine_{number}", event
        for message in NO_EVENTS:
            await wrong.socket.send(message)
            events = await wrong.until("error")
            assert events[-1]["error"]["type"] == "invalid_request_error"
        # Names that cannot be said again are not; nothing else is wrong with these.
        for name in (7, {"a": []}, "x" * 10_000, "\ud800"):
            await wrong.send(type="dance", event_id=name)
            assert (await wrong.until("error"))[-1]["error"]["event_id"] is None
        await speaking
        for client in (beside, wrong):
            if client is wrong:
                # Nothing of what was wrong has changed the session.
                await client.append(s16(english))
            await client.commit()
            events = await client.until(COMPLETED)
            assert not errors_of(events)
            assert events[-1]["transcript"] == ENGLISH


async def test_clients_that_leave_at_any_time_leave_no_trace(service, english):
    log = service.log_path.read_text()

    async def leave(after, how):
        client = Client(service)
        socket = await client.__aenter__()
        data = s16(resampled(np.tile(english, 3), 24_000))
        if after:
            await socket.append(data[: after * 10_000], chunk=9_600)
        if after > 2:
            await socket.commit()
        if how == "close":
            await client.socket.close()
        elif how == "abort":
            client.socket.transport.abort()
        else:
            # In the middle of a message, with others behind it.
            big = base64.b64encode(data * 10).decode()
            for _ in range(3):
                await socket.send(type="input_audio_buffer.append", audio=big)
            client.socket.transport.abort()

    await asyncio.gather(*(leave(after, how) for after in range(5) for how in ("close", "abort", "flood")))
    while service.health()["live_sessions"]:
        await asyncio.sleep(0.1)
    said = service.log_path.read_text()[len(log) :]
    assert "Traceback" not in said, said[-3_000:]
    assert "ERROR" not in said, said[-3_000:]


# What LiveKit's and pipecat's clients send by default, written down from their traffic.
LIVEKIT_VAD = {"type": "server_vad", "prefix_padding_ms": 600, "silence_duration_ms": 350, "threshold": 0.5}
PCM_24 = {"rate": 24_000, "type": "audio/pcm"}
CLIENTS = {
    "livekit": (
        "intent=transcription&model=gpt-4o-mini-transcribe",
        {"format": PCM_24, "transcription": {"language": "en", "model": "gpt-4o-mini-transcribe"},
         "turn_detection": LIVEKIT_VAD},
    ),
    "livekit, with hints": (
        "intent=transcription&model=gpt-transcribe",
        {"format": PCM_24, "transcription": {"keywords": [], "languages": ["en"], "model": "gpt-transcribe"},
         "turn_detection": LIVEKIT_VAD, "noise_reduction": {"type": "near_field"}},
    ),
    "livekit, live": (
        "intent=transcription&model=gpt-live-transcribe",
        {"format": PCM_24, "transcription": {"keywords": [], "languages": ["en"], "model": "gpt-live-transcribe"}},
    ),
    "livekit, whisper": (
        "intent=transcription&model=gpt-realtime-whisper",
        {"format": PCM_24, "transcription": {"language": "en", "model": "gpt-realtime-whisper"}},
    ),
    "pipecat": (
        "intent=transcription",
        {"format": PCM_24, "transcription": {"model": "gpt-realtime-whisper", "language": "en"},
         "turn_detection": None},
    ),
    "pipecat, with delay": (
        "intent=transcription",
        {"format": PCM_24, "transcription": {"model": "gpt-realtime-whisper", "language": "en", "delay": "low"},
         "turn_detection": None, "noise_reduction": {"type": "far_field"}},
    ),
    "pipecat, with server vad": (
        "intent=transcription",
        {"format": PCM_24, "transcription": {"model": "gpt-transcribe", "language": "en"},
         "turn_detection": {"type": "server_vad"}, "noise_reduction": {"type": "near_field"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CLIENTS)
async def test_clients_are_understood_as_they_are(service, english, name):
    query, sound = CLIENTS[name]
    commits = "server_vad" not in json.dumps(sound)
    async with Client(service, query) as client:
        await client.update(**sound)
        speech = np.concatenate([english, np.zeros(1_600 if commits else 16_000)])
        # Half the pace of speech: on a busy machine too several partials come before the end.
        await client.append(s16(resampled(speech, 24_000)), pause_s=0.025)
        if commits:
            await client.commit()
        events = await client.until(COMPLETED)
    updated = next(event for event in events if event["type"] == "session.updated")["session"]["audio"]["input"]
    assert (updated["turn_detection"] is None) == commits
    assert updated["transcription"]["model"] == sound["transcription"]["model"]
    assert not errors_of(events)
    assert events[-1]["transcript"] == ENGLISH
    assert events[-1]["languages"] == [{"code": "en"}]
    deltas = [event["delta"] for event in events if event["type"] == DELTA]
    assert len(deltas) > 1
    assert "".join(deltas) == ENGLISH
    kinds = {event["type"] for event in events}
    # LiveKit takes these for turns of the server's.
    assert ("input_audio_buffer.speech_started" in kinds) != commits


async def test_what_only_clients_end_begins_so_and_stays_so(service):
    for name in ("gpt-realtime-whisper", "gpt-live-transcribe-2026-08-26"):
        async with Client(service, f"model={name}") as client:
            created = (await client.until("session.created"))[-1]["session"]["audio"]["input"]
            assert created["turn_detection"] is None
            assert created["transcription"]["model"] == name
            await client.send(**update(turn_detection={"type": "server_vad"}), event_id="vad")
            (error,) = errors_of(await client.until("error"))
            assert (error["param"], error["event_id"]) == (f"{INPUT}.turn_detection", "vad")
            await client.update(transcription={"model": "gpt-transcribe"}, turn_detection={"type": "server_vad"})
            assert (await client.until("session.updated"))[-1]["session"]["audio"]["input"]["turn_detection"]


@pytest.mark.slow
async def test_a_silence_of_a_minute_is_outlasted(service, english):
    """The session in the model closes after 30 s without sound, and the client hears nothing of it."""
    data = s16(resampled(np.concatenate([english, np.zeros(16_000)]), 24_000))
    async with Client(service) as client:
        await client.update(transcription={"language": "en"})
        for _ in range(2):
            await client.append(data)
            events = await client.until(COMPLETED)
            await asyncio.sleep(40)
        assert service.health()["live_sessions"] == 1
        await client.append(data)
        events += await client.until(COMPLETED)
    assert not errors_of(client.events)
    assert [event["transcript"] for event in client.events if event["type"] == COMPLETED] == [ENGLISH] * 3
    items = [event["item_id"] for event in client.events if event["type"] == "input_audio_buffer.committed"]
    assert len(set(items)) == 3
    starts = [e["audio_start_ms"] for e in client.events if e["type"] == "input_audio_buffer.speech_started"]
    whole_ms = len(data) / 48
    assert [round(start / whole_ms, 1) for start in starts] == [
        round(starts[0] / whole_ms + number, 1) for number in range(3)
    ]
