"""One client harms nobody: slow ones, idle ones, floods, and files that are none, on a service with small bounds."""

import asyncio
import contextlib
import json
import socket

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from perf.service import running_service
from tests.conftest import RECORDINGS
from tests.e2e.test_live import ENGLISH, feed, s16
from tests.endings import ended_later

SDP = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 40404 RTP/AVP 0\n"


@pytest.fixture(scope="module")
def bounded(tmp_path_factory):
    bounds = {
        "MAX_UPLOADS": "2",
        "MAX_UPLOADS_MB": "20",
        "BODY_IDLE_S": "0.5",
        "REQUEST_HEADER_S": "1",
        "MAX_LIVE_SESSIONS": "2",
        "LIVE_SILENCE_S": "1",
        "LIVE_AHEAD_S": "2",
    }
    named = {f"ASR_{name}": value for name, value in bounds.items()}
    with ended_later(running_service(ASR_CACHE_DIR=str(tmp_path_factory.mktemp("cache")), **named)) as running:
        yield running


def address(running):
    host, _, port = running.url.removeprefix("http://").partition(":")
    return host, int(port)


def recording():
    return ("a.flac", (RECORDINGS / "english.flac").read_bytes())


def ws(running):
    return connect(running.url.replace("http", "ws") + "/ws/transcribe")


@contextlib.asynccontextmanager
async def ws_when_free(running):
    """A socket as soon as there is a place: those of the test before may just be closing."""
    while True:
        try:
            live = await ws(running)
            break
        except InvalidStatus as refused:
            if refused.response.status_code != 503:
                raise
            await asyncio.sleep(0.05)
    async with live:
        yield live


def test_a_session_description_opens_no_socket(bounded):
    frontend = psutil.Process(bounded.pid)
    before = {one.laddr for one in frontend.net_connections("udp")}
    for _ in range(8):
        url = f"{bounded.url}/v1/audio/transcriptions"
        answer = httpx.post(url, files={"file": ("a.wav", SDP)}, data={"model": "tiny"}, timeout=10)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "file"
    assert {one.laddr for one in frontend.net_connections("udp")} == before


@pytest.mark.parametrize(
    ("length", "begun"),
    [(b"content-length: 100000", b"--b\r\n"), (b"transfer-encoding: chunked", b"5\r\n--b\r\n\r\n")],
)
def test_a_body_that_does_not_come_is_told_so(bounded, length, begun):
    head = b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\n"
    with socket.create_connection(address(bounded), timeout=20) as client:
        client.sendall(head + length + b"\r\n\r\n" + begun)
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 408")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"


async def test_who_leaves_blanks_nobody_of_the_same_name(bounded):
    """A name is the client's own: what is cancelled by it is the request that has left, and no other."""
    named = {"headers": {"x-request-id": "mine"}, "files": {"file": recording()}, "data": {"model": "tiny"}}
    async with httpx.AsyncClient(base_url=bounded.url, timeout=60) as client:
        for _ in range(3):
            leaver = asyncio.create_task(client.post("/v1/audio/transcriptions", **named))
            # Until it is worked on.
            while not (await client.get("/health")).json()["active"]:
                assert not leaver.done()
            leaver.cancel()
            await asyncio.wait([leaver])
            answer = await client.post("/v1/audio/transcriptions", **named)
            assert (answer.status_code, answer.json().get("text")) == (200, ENGLISH)


def test_who_asks_nothing_is_dropped(bounded):
    with socket.create_connection(address(bounded), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nho")
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""


async def test_a_flood_is_refused_and_live_speech_goes_on(bounded, english):
    form = {"files": {"file": recording()}, "data": {"model": "tiny"}}
    async with httpx.AsyncClient(base_url=bounded.url, timeout=60) as client, ws_when_free(bounded) as live:
        listening = asyncio.create_task(heard(live))
        flood = [asyncio.create_task(client.post("/v1/audio/transcriptions", **form)) for _ in range(40)]
        await feed(live, s16(english), pause_s=0.05)
        await live.send('{"action": "end"}')
        answers = await asyncio.gather(*flood)
        finals = await asyncio.wait_for(listening, 60)
    refused = [answer for answer in answers if answer.status_code != 200]
    # 429: of the places for those that are being sent, one client has half.
    assert {answer.status_code for answer in refused} <= {429, 503}
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
    assert {answer.json()["text"] for answer in answers if answer.status_code == 200} == {ENGLISH}
    assert finals == [ENGLISH]
    # Every place is free again.
    assert httpx.post(f"{bounded.url}/v1/audio/transcriptions", **form, timeout=60).json()["text"] == ENGLISH


async def heard(live):
    events = [json.loads(message) async for message in live]
    return [event["text"] for event in events if event["type"] == "final"]


async def test_live_sessions_beyond_the_most_are_refused_with_a_status(bounded):
    async with ws_when_free(bounded), ws_when_free(bounded):
        with pytest.raises(InvalidStatus) as caught:
            async with ws(bounded):
                pass
    assert caught.value.response.status_code == 503
    assert caught.value.response.headers["retry-after"] == "1"
    assert "too many" in json.loads(caught.value.response.body)["error"]["message"]


async def test_commands_alone_do_not_keep_a_place(bounded):
    """A command that crosses the server's goodbye may reset the connection: what was said before it counts."""
    events = []
    async with ws_when_free(bounded) as live:
        with contextlib.suppress(ConnectionClosed):
            while not events or events[-1]["type"] != "closed":
                await live.send('{"action": "flush"}')
                events.append(json.loads(await asyncio.wait_for(live.recv(), 10)))
                await asyncio.sleep(0.05)
        with contextlib.suppress(ConnectionClosed):
            while True:
                events.append(json.loads(await asyncio.wait_for(live.recv(), 10)))
    assert events[-1]["type"] == "closed"


async def test_sound_far_ahead_of_the_clock_is_all_heard(bounded, english):
    """Six seconds at once, in one message, where two may be ahead."""
    data = s16(english) + bytes(64_000)
    async with ws_when_free(bounded) as live:
        listening = asyncio.create_task(heard(live))
        await live.send(data)
        await live.send('{"action": "end"}')
        assert await asyncio.wait_for(listening, 60) == [ENGLISH]
