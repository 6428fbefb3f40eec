"""Processes that are killed come back by themselves: no file is lost, and live sessions outlast them."""

import asyncio
import base64
import json
import signal
import time
from collections import Counter

import httpx
import jsonschema
import numpy as np
import psutil
import pytest
import websockets

from perf.live_client import LastingClient
from perf.service import running_service
from tests.conftest import RECORDINGS, read
from tests.e2e.test_live import SCHEMA
from tests.endings import ended_later

TEXT = "four two seven nine zero one five"


@pytest.fixture(scope="module")
def healing(tmp_path_factory):
    with ended_later(running_service(ASR_CACHE_DIR=str(tmp_path_factory.mktemp("cache")))) as running:
        yield running


def process_of(service, model):
    """The process that runs a model."""
    for process in psutil.Process(service.pid).children(recursive=True):
        with_arguments = process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else []
        if any(argument.endswith(f"/{model}/1/model.py") for argument in with_arguments):
            return process
    raise AssertionError(f"{model} has no process")


async def files_until(client, done):
    """Files one after the other until told; returns their answers."""
    content = (RECORDINGS / "english.flac").read_bytes()
    answers = []
    while not done.is_set() or not answers:
        form = {"files": {"file": content}, "data": {"model": "whisper-1"}}
        answers.append(await client.post("/v1/audio/transcriptions", **form))
    return answers


@pytest.mark.parametrize(
    ("model", "number"),
    [
        ("vad", signal.SIGKILL),
        ("encoder", signal.SIGSTOP),
        ("decoder", signal.SIGKILL),
        ("asr_stream", signal.SIGKILL),
    ],
)
async def test_a_lost_process_is_seen_and_healed_and_no_file_is_lost(healing, model, number):
    done = asyncio.Event()
    async with httpx.AsyncClient(base_url=healing.url, timeout=60) as client:
        before = (await client.get("/health")).json()["healed"].get(model, 0)
        files = [asyncio.create_task(files_until(client, done)) for _ in range(4)]
        process_of(healing, model).send_signal(number)
        started = time.monotonic()
        seen = None
        while (health := (await client.get("/health")).json())["healed"].get(model, 0) == before:
            assert time.monotonic() - started < 30, health
            seen = seen or (time.monotonic() - started if health["status"] != "ready" else None)
            await asyncio.sleep(0.1)
        while (await client.get("/health/ready")).status_code != 200:
            assert time.monotonic() - started < 30
            await asyncio.sleep(0.05)
        print(f"{model}: seen after {seen:.1f} s, healed after {time.monotonic() - started:.1f} s")
        assert seen is not None, "it was called ready all the while"
        done.set()
        answers = [answer for several in await asyncio.gather(*files) for answer in several]
        assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
        assert {answer.json()["text"] for answer in answers} == {TEXT}
        health = (await client.get("/health")).json()
        assert "lost" not in health
        assert health["healed"][model] > before


CHUNK = 3_200
TEXTS = [TEXT, TEXT]


@pytest.fixture(scope="module")
def speech():
    """Two utterances, with pauses between them: int16."""
    english = read(RECORDINGS / "english.flac")
    pause = np.zeros(24_000, dtype=np.float32)
    samples = np.concatenate([pause, *(part for _ in TEXTS for part in (english, pause))])
    return (samples * 32_767).astype("<i2")


async def session(url, speech, ready, pace_s=0.06):
    """Stream at three times the pace of speech; returns every event."""
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
async def test_a_session_outlasts_its_server(healing, speech, victim):
    undisturbed = await session(healing.url, speech, asyncio.Event(), pace_s=0.02)
    assert [text for _, text, _, _ in shown(undisturbed)] == TEXTS
    begun = [asyncio.Event() for _ in range(4)]
    sessions = [asyncio.create_task(session(healing.url, speech, ready)) for ready in begun]
    await asyncio.wait_for(asyncio.gather(*(ready.wait() for ready in begun)), 60)
    healed = Counter(healing.health()["healed"])
    process = healing.tritons()[0] if victim == "triton" else process_of(healing, victim)
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
        for number in (1, 2):
            said = [event["type"] for event in events if event.get("utterance") == number]
            assert said[0] == "speech_started"
            assert said[-2:] == ["speech_stopped", "final"]
            assert said.count("speech_started") == said.count("speech_stopped") == said.count("final") == 1
    async with httpx.AsyncClient(base_url=healing.url, timeout=60) as client:
        while (await client.get("/health/ready")).status_code != 200:
            await asyncio.sleep(0.1)
    health = healing.health()
    # A Triton that is started anew takes nothing of it along.
    assert Counter(health["healed"]) == healed + Counter([victim] if victim != "triton" else [])
    assert health["servers"][0]["healed"] == health["healed"]


async def test_a_session_that_waits_in_silence_is_told_when_its_server_is_lost(healing, speech):
    """Triton leaves an open request of a dead process unanswered, and this client sends nothing that could fail."""
    async with websockets.connect(f"{healing.url.replace('http', 'ws', 1)}/ws/transcribe", open_timeout=30) as socket:

        async def until(kind):
            while (event := json.loads(await asyncio.wait_for(socket.recv(), 60)))["type"] != kind:
                assert event["type"] != "error", event
            return event

        await socket.send(speech[: speech.size // 2 - 24_000].tobytes())
        await until("partial")
        process_of(healing, "asr_stream").send_signal(signal.SIGKILL)
        await until("resumed")
        await socket.send(json.dumps({"action": "end"}))
        assert (await until("final"))["text"] == TEXT
        await until("closed")


async def grpc_session(url, speech, ready, pace_s=0.06):
    """The same by gRPC, straight to Triton."""
    events = []
    async with LastingClient(url) as client:

        async def hear():
            async for event in client.events():
                events.append(event)
                if event["type"] == "partial":
                    ready.set()

        hearing = asyncio.create_task(hear())
        for start in range(0, speech.size, CHUNK):
            client.send(speech[start : start + CHUNK])
            await asyncio.sleep(pace_s)
        client.send(end=True)
        await asyncio.wait_for(hearing, 60)
    return events


async def test_a_grpc_client_goes_on_where_asr_stream_was_lost(healing, speech):
    async with httpx.AsyncClient(base_url=healing.url, timeout=60) as client:
        url = (await client.get("/health")).json()["triton"]["url"]
    undisturbed = await grpc_session(url, speech, asyncio.Event(), pace_s=0.02)
    begun = asyncio.Event()
    talking = asyncio.create_task(grpc_session(url, speech, begun))
    await asyncio.wait_for(begun.wait(), 60)
    process_of(healing, "asr_stream").send_signal(signal.SIGKILL)
    events = await talking
    assert shown(events) == shown(undisturbed)
    assert [text for _, text, _, _ in shown(events)] == TEXTS
    kinds = [event["type"] for event in events]
    assert "resumed" in kinds
    assert kinds.count("opened") == kinds.count("closed") == 1
    for event in events:
        jsonschema.validate(event, SCHEMA)


async def realtime_session(url, speech, turns, count, strike, pace_s=0.06):
    """Stream to a Realtime session until so many turns are complete; strike: called once, when text has come. Returns
    events as type and item, and transcripts."""
    kinds, transcripts, begun, struck = [], [], asyncio.Event(), False
    async with websockets.connect(f"{url.replace('http', 'ws', 1)}/v1/realtime", open_timeout=30) as socket:

        async def hear():
            async for message in socket:
                event = json.loads(message)
                kinds.append((event["type"], event.get("item_id")))
                if event["type"].endswith("transcription.delta"):
                    begun.set()
                if event["type"].endswith("transcription.completed"):
                    transcripts.append(event["transcript"])
                    if len(transcripts) == count:
                        return

        hearing = asyncio.create_task(hear())
        sound = {"format": {"type": "audio/pcm", "rate": 16_000}, "turn_detection": turns}
        update = {"type": "session.update", "session": {"type": "transcription", "audio": {"input": sound}}}
        await socket.send(json.dumps(update))
        for start in range(0, speech.size, CHUNK):
            audio = base64.b64encode(speech[start : start + CHUNK].tobytes()).decode()
            await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            await asyncio.sleep(pace_s)
            if begun.is_set() and not struck:
                struck = True
                strike()
        if turns is None:
            await socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
        await asyncio.wait_for(hearing, 60)
    assert struck
    return kinds, transcripts


@pytest.mark.parametrize("turns", [{"type": "server_vad"}, None])
async def test_realtime_items_outlast_their_server(healing, speech, turns):
    """Turns that end by voice, and a turn of the client of all that is said."""
    count = len(TEXTS) if turns else 1
    _, undisturbed = await realtime_session(healing.url, speech, turns, count, lambda: None, pace_s=0.02)
    assert undisturbed == TEXTS if turns else undisturbed[0].startswith(TEXT)
    kinds, transcripts = await realtime_session(
        healing.url, speech, turns, count, lambda: process_of(healing, "asr_stream").send_signal(signal.SIGKILL)
    )
    assert transcripts == undisturbed
    for kind in ("speech_started", "speech_stopped", "committed") if turns else ("committed",):
        items = [item for said, item in kinds if said == f"input_audio_buffer.{kind}"]
        assert len(items) == len(set(items)) == count
    assert len({item for kind, item in kinds if item and "transcription" in kind}) == count
    assert not [kind for kind, _ in kinds if kind == "error" or kind.endswith("failed")]
