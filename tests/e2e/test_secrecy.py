"""What is said, expected and signed with stays out of every log; and pages of other origins stay out."""

import asyncio
import base64
import contextlib
import json
import re
import signal
from pathlib import Path

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from perf.service import running_service
from tests.conftest import RECORDINGS
from tests.e2e.test_healing import process_of
from tests.e2e.test_live import ENGLISH, feed, s16
from tests.endings import ended_later

KEY = "zyxkeyzyxkeyzyxkey"
AUTHORIZATION = {"Authorization": f"Bearer {KEY}"}
# Every one is in something that a client sends, and each begins so.
MARK = "zyx"


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("cache"))
    with ended_later(running_service(ASR_CACHE_DIR=cache, ASR_API_KEYS=json.dumps([KEY]))) as running:
        yield running


async def ask(client, *, name="zyxfile.flac", content=None, **fields):
    content = content or (RECORDINGS / "english.flac").read_bytes()
    data = {"model": "whisper-1", "prompt": "zyxprompt", "keywords[]": "zyxkeyword", **fields}
    return await client.post("/v1/audio/transcriptions", files={"file": (name, content)}, data=data)


async def speak(url, pcm, path, **arguments):
    """Live speech, whose end alone is waited for; returns the events."""
    events = []
    async with connect(url.replace("http", "ws") + path, **arguments) as ws:

        async def hear():
            async for message in ws:
                events.append(json.loads(message))  # noqa: PERF401 (those before the end are kept)

        listening = asyncio.create_task(hear())
        # A session that is refused ends before it is fed.
        with contextlib.suppress(ConnectionClosed):
            await ws.send(json.dumps({"action": "config", "context": "zyxconfig", "partial_interval_ms": 200}))
            await ws.send(json.dumps({"action": "config", "zyxsetting": "zyxvalue"}))
            await ws.send("zyxnonsense")
            await feed(ws, s16(pcm))
            await ws.send(json.dumps({"action": "end"}))
        with contextlib.suppress(ConnectionClosed):
            await asyncio.wait_for(listening, 60)
    return events


async def speak_realtime(url, pcm):
    protocols = ["realtime", f"openai-insecure-api-key.{KEY}"]
    async with connect(url.replace("http", "ws") + "/v1/realtime?model=zyxmodel", subprotocols=protocols) as ws:
        transcription = {"prompt": "zyxrealtime", "language": "zyxlanguage"}
        for language in ("zyxlanguage", "en"):
            transcription["language"] = language
            audio = {"input": {"transcription": transcription, "turn_detection": None}}
            await ws.send(json.dumps({"type": "session.update", "session": {"type": "transcription", "audio": audio}}))
        sound = np.repeat(pcm, 3)[::2]
        encoded = base64.b64encode(s16(sound)).decode()
        await ws.send(json.dumps({"type": "input_audio_buffer.append", "audio": encoded}))
        await ws.send(json.dumps({"type": "input_audio_buffer.commit"}))
        async for message in ws:
            event = json.loads(message)
            if event["type"].endswith("transcription.completed"):
                return event["transcript"]
    raise AssertionError("no transcript")


async def test_no_log_tells_what_is_said_expected_or_signed_with(secret, english):
    """Files, server-sent events, sockets and Realtime, with mistakes of every kind, and a model that dies meanwhile."""
    async with httpx.AsyncClient(base_url=secret.url, headers=AUTHORIZATION, timeout=60) as client:
        answers = [
            await ask(client),
            await ask(client, stream="true"),
            await ask(client, language="zyxlanguage"),
            await ask(client, model="zyxmodel"),
            await ask(client, prompt="zyxlong " * 20_000),
            await ask(client, name="zyxbroken.flac", content=b"zyxcontent" * 100),
            await client.get("/zyxpath", params={"zyxquery": "zyxvalue"}),
            await client.get("/v1/models", headers={"Authorization": "Bearer zyxwrong"}),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 400, 404, 400, 400, 404, 401]
        assert await speak_realtime(secret.url, english)
        path = "/ws/transcribe?context=zyxcontext"
        for wrong in (f"{path}&language=zyxlanguage", f"{path}&sequence_id=zyxid"):
            events = await speak(secret.url, english[:8_000], wrong, additional_headers=AUTHORIZATION)
            assert "error" in [event["type"] for event in events]
        with pytest.raises(InvalidStatus):
            await speak(secret.url, english, path, additional_headers={"Authorization": "Bearer zyxwrong"})
        live = asyncio.create_task(speak(secret.url, english, path, additional_headers=AUTHORIZATION))
        file = asyncio.create_task(ask(client))
        process_of(secret, "decoder").send_signal(signal.SIGKILL)
        finals = [event["text"] for event in await live if event["type"] == "final"]
        assert finals == [ENGLISH]
        assert (await file).json()["text"] == ENGLISH
        assert (await client.get("/health")).json()["healed"].get("decoder")
    said = secret.log_path.read_text()
    triton = Path(re.search(r"log (/\S+triton-\S+\.log)", said)[1]).read_text()
    # The logs are those, and tell what happened.
    assert "POST /v1/audio/transcriptions 404" in said
    assert "WEBSOCKET /ws/transcribe 101" in said
    assert "decoder is lost" in said
    assert "successfully loaded 'decoder'" in triton
    for log in (said, triton):
        told = [line for line in log.splitlines() if MARK in line.lower() or re.search(r"\bfour\b|\bseven\b", line)]
        assert not told


async def test_pages_of_other_origins_open_no_session(service):
    """Nobody set a key, so any page that somebody looks at could listen or speak."""
    for path in ("/ws/transcribe", "/v1/realtime"):
        url = service.url.replace("http", "ws") + path
        for origin in ("https://example.org", "null", service.url.replace("127.0.0.1", "example.org")):
            with pytest.raises(InvalidStatus) as caught:
                async with connect(url, origin=origin):
                    pass
            assert caught.value.response.status_code == 403
        async with connect(url, origin=service.url) as ws:
            assert json.loads(await ws.recv())["type"] in ("opened", "session.created")
    async with httpx.AsyncClient(base_url=service.url, headers={"Origin": "https://example.org"}) as client:
        answer = await ask(client)
    assert answer.status_code == 403
    assert "ASR_CORS_ORIGINS" in answer.json()["error"]["message"]
    assert "access-control-allow-origin" not in answer.headers
