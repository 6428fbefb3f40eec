"""Live sessions whose server is lost in the middle: a pause, `resumed`, and nothing lost, doubled or changed."""

import asyncio
import base64
import json
import signal

import httpx
import jsonschema
import numpy as np
import psutil
import pytest
import websockets

from tests.conftest import RECORDINGS, read
from tests.e2e.test_healing import healing, process_of  # noqa: F401
from tests.e2e.test_live import SCHEMA

CHUNK = 3_200
TEXTS = ["four two seven nine zero one five"] * 3


@pytest.fixture(scope="module")
def speech():
    """Three utterances, with pauses between them: int16."""
    english = read(RECORDINGS / "english.flac")
    pause = np.zeros(24_000, dtype=np.float32)
    samples = np.concatenate([pause, *(part for _ in range(3) for part in (english, pause))])
    return (samples * 32_767).astype("<i2")


async def session(url, speech, ready, pace_s=0.1):
    """Stream at twice the pace of speech; returns every event."""
    events = []
    async with websockets.connect(f"{url.replace('http', 'ws', 1)}/ws/transcribe", open_timeout=30) as socket:

        async def hear():
            async for message in socket:
                events.append(json.loads(message))
                if events[-1]["type"] == "partial":
                    ready.set()

        hearing = asyncio.create_task(hear())
        for start in range(0, speech.size, CHUNK):
            await socket.send(speech[start : start + CHUNK].tobytes())
            await asyncio.sleep(pace_s)
        await socket.send(json.dumps({"action": "end"}))
        await asyncio.wait_for(hearing, 60)
        assert socket.close_code == 1000
    return events


def shown(events):
    """What a client keeps of a session: each utterance's number, text and place."""
    return [
        (event["utterance"], event["text"], event["start"], event["end"])
        for event in events
        if event["type"] == "final"
    ]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("victim", ["asr_stream", "decoder", "triton"])
async def test_a_session_outlasts_its_server(healing, speech, victim):  # noqa: F811
    undisturbed = await session(healing.url, speech, asyncio.Event(), pace_s=0.02)
    assert [text for _, text, _, _ in shown(undisturbed)] == TEXTS
    begun = [asyncio.Event() for _ in range(4)]
    sessions = [asyncio.create_task(session(healing.url, speech, ready)) for ready in begun]
    await asyncio.wait_for(asyncio.gather(*(ready.wait() for ready in begun)), 60)
    process = psutil.Process(healing.pid).children()[0] if victim == "triton" else process_of(healing, victim)
    process.send_signal(signal.SIGKILL)
    for events in await asyncio.gather(*sessions):
        kinds = [event["type"] for event in events]
        for event in events:
            jsonschema.validate(event, SCHEMA)
        assert shown(events) == shown(undisturbed)
        assert "error" not in kinds
        assert kinds.count("opened") == kinds.count("closed") == 1
        # A decoder that is away is waited for by the session where it is.
        assert (kinds.count("resumed") > 0) == (victim != "decoder")
        stable = {}
        for event in events:
            number = event.get("utterance")
            if event["type"] in ("partial", "final"):
                assert event["text"].startswith(stable.get(number, "")) or event.get("revised")
                stable[number] = event["stable"]
        for number in (1, 2, 3):
            said = [event["type"] for event in events if event.get("utterance") == number]
            assert said[0] == "speech_started"
            assert said[-2:] == ["speech_stopped", "final"]
            assert said.count("speech_started") == said.count("speech_stopped") == said.count("final") == 1
    async with httpx.AsyncClient(base_url=healing.url, timeout=60) as client:
        while (await client.get("/health/ready")).status_code != 200:
            await asyncio.sleep(0.1)


async def test_realtime_items_outlast_their_server(healing, speech):  # noqa: F811
    kinds, transcripts, begun, killed = [], [], asyncio.Event(), False
    async with websockets.connect(f"{healing.url.replace('http', 'ws', 1)}/v1/realtime", open_timeout=30) as socket:

        async def hear():
            async for message in socket:
                event = json.loads(message)
                kinds.append((event["type"], event.get("item_id")))
                if event["type"].endswith("transcription.delta"):
                    begun.set()
                if event["type"].endswith("transcription.completed"):
                    transcripts.append(event["transcript"])
                    if len(transcripts) == len(TEXTS):
                        return

        hearing = asyncio.create_task(hear())
        sound = {"format": {"type": "audio/pcm", "rate": 16_000}}
        update = {"type": "session.update", "session": {"type": "transcription", "audio": {"input": sound}}}
        await socket.send(json.dumps(update))
        for start in range(0, speech.size, CHUNK):
            audio = base64.b64encode(speech[start : start + CHUNK].tobytes()).decode()
            await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            await asyncio.sleep(0.1)
            if begun.is_set() and not killed:
                killed = True
                process_of(healing, "asr_stream").send_signal(signal.SIGKILL)
        await asyncio.wait_for(hearing, 60)
    assert transcripts == TEXTS
    for kind in ("speech_started", "speech_stopped", "committed"):
        items = [item for said, item in kinds if said == f"input_audio_buffer.{kind}"]
        assert len(items) == len(set(items)) == len(TEXTS)
    assert not [kind for kind, _ in kinds if kind == "error" or kind.endswith("failed")]
