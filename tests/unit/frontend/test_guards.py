"""What is refused before an application sees it, each by itself: bodies, uploads, sockets, names."""

import asyncio
import json

import pytest

from frontend.errors import ApiError, error_response
from frontend.guard import uploads
from frontend.guard.ahead import Ahead, Turns
from frontend.guard.clients import KEY
from frontend.guard.limits import BodyLimit
from frontend.guard.names import RequestNames
from frontend.guard.sockets import SocketGate, Sockets
from frontend.guard.uploads import Places, UploadGate


async def reading(scope, receive, send):
    """An application that reads its body, and answers errors as ours does."""
    try:
        while (await receive()).get("more_body"):
            pass
        error = ApiError(200, "read")
    except ApiError as raised:
        error = raised
    await error_response(error)(scope, receive, send)


def request(**headers):
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http", "method": "POST", "path": "/x", "headers": raw}


async def asked(app, scope, chunks=(b"",), pause_s=0.0):
    """Status, headers and body of the answer to chunks that are sent one after another, and whether they were read."""
    waiting, sent = [*chunks], []

    async def receive():
        await asyncio.sleep(pause_s)
        chunk = waiting.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, json.loads(sent[1]["body"])["error"]["message"], not waiting


def limit(**changes):
    return BodyLimit(reading, **{"max_bytes": 100, "idle_s": 60.0, "bytes_per_s": 0.0, **changes})


async def test_a_body_is_bounded_by_what_it_announces_and_by_what_it_brings():
    assert (await asked(limit(), request(content_length="100"), [b"x" * 100]))[0] == 200
    status, _, _, was_read = await asked(limit(), request(content_length="101"))
    assert (status, was_read) == (413, False)
    assert (await asked(limit(), request(), [b"x" * 60, b"x" * 60, b""]))[0] == 413
    assert (await asked(limit(), request(content_length="9" * 5_000), [b"x"]))[0] == 200


async def test_a_body_that_does_not_come_on_is_given_up():
    status, headers, message, _ = await asked(limit(idle_s=0.02), request(), [b"x", b"x"], pause_s=5)
    assert status == 408
    assert headers["connection"] == "close"
    assert "too slowly" in message


async def test_a_body_that_comes_too_slowly_is_given_up():
    chunks = [b"x"] * 100
    status, *_ = await asked(limit(idle_s=0.03, bytes_per_s=1e6), request(), chunks, pause_s=0.01)
    assert status == 408
    assert (await asked(limit(idle_s=0.03, bytes_per_s=1), request(), [b"x"] * 9, pause_s=0.01))[0] == 200


async def test_a_body_that_came_fast_may_not_dribble_on_for_days():
    """A quick megabyte is no credit for later."""
    chunks = [b"x" * 10**6, *[b"x"] * 100]
    slow = limit(max_bytes=10**7, idle_s=0.03, bytes_per_s=1_000)
    assert (await asked(slow, request(), chunks, pause_s=0.01))[0] == 408


class Held:
    """An application whose requests end when they are told to."""

    def __init__(self):
        self.end = asyncio.Event()
        self.read = asyncio.Semaphore(0)

    async def __call__(self, scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        self.read.release()
        await self.end.wait()
        await error_response(ApiError(200, "done"))(scope, receive, send)


def assert_empty(places):
    """Nobody has anything, and nobody is kept in mind."""
    assert (places.num_sending.total, places.working.total, places.num_bytes.total) == (0, 0, 0)
    assert not places.sending
    assert not places.bytes


async def test_uploads_beyond_the_places_are_refused_before_they_are_read():
    held = Held()
    gate = UploadGate(held, places := Places(most=2, most_bytes=10_000))
    running = [asyncio.create_task(asked(gate, request())) for _ in range(2)]
    for _ in running:
        await held.read.acquire()
    status, headers, _, was_read = await asked(gate, request())
    assert (status, headers["retry-after"], was_read) == (503, "1", False)
    held.end.set()
    assert [answer[0] for answer in await asyncio.gather(*running)] == [200, 200]
    assert (await asked(gate, request()))[0] == 200
    assert_empty(places)


async def test_uploads_that_are_being_sent_hold_no_place_of_work():
    gate = UploadGate(reading, places := Places(most=1, most_bytes=10_000))
    slow = [asyncio.create_task(asked(gate, request(), [b"x", b"x"], pause_s=60)) for _ in range(uploads.SENDING)]
    while places.num_sending.total < len(slow):
        await asyncio.sleep(0)
    assert (await asked(gate, request()))[0] == 503
    slow.pop().cancel()
    while places.num_sending.total > len(slow):
        await asyncio.sleep(0)
    assert (await asked(gate, request()))[0] == 200
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    assert_empty(places)


async def test_bytes_of_all_uploads_are_bounded(monkeypatch):
    gate = UploadGate(reading, places := Places(most=9, most_bytes=100))
    assert (await asked(gate, request(content_length="101")))[0] == 503
    assert (await asked(gate, request(), [b"x" * 60, b"x" * 60, b""]))[0] == 503
    assert_empty(places)
    assert (await asked(gate, request(content_length="100"), [b"x" * 100]))[0] == 200
    gate = UploadGate(reading, Places(most=9, most_bytes=10**9))
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda _: type("Usage", (), {"free": uploads.SPARE_BYTES})())
    status, headers, *_ = await asked(gate, request(content_length=str(2 * uploads.IN_MEMORY_BYTES)))
    assert (status, headers["retry-after"]) == (507, "1")
    # What is kept in memory needs no disk.
    assert (await asked(gate, request(content_length="1000"), [b"x" * 1000]))[0] == 200


async def test_one_client_leaves_the_rest_of_the_places_to_others():
    gate = UploadGate(reading, places := Places(most=1, most_bytes=1_000, share=0.5))
    slow = [
        asyncio.create_task(asked(gate, request() | {"client": ("10.0.0.1", 1)}, [b"x", b"x"], pause_s=60))
        for _ in range(2)
    ]
    while places.num_sending.total < len(slow):
        await asyncio.sleep(0)
    status, headers, message, _ = await asked(gate, request() | {"client": ("10.0.0.1", 2)})
    assert (status, headers["retry-after"]) == (429, "1")
    assert "your uploads" in message
    # The same address with a key is somebody else.
    for other in ({"client": ("10.0.0.2", 1)}, {"client": ("10.0.0.1", 1), KEY: 0}):
        assert (await asked(gate, request() | other))[0] == 200
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    assert_empty(places)


async def test_one_client_leaves_the_rest_of_the_bytes_to_others():
    held = Held()
    gate = UploadGate(held, places := Places(most=9, most_bytes=1_000, share=0.5))
    # The first one may have more than the share: it would never find a place.
    running = asyncio.create_task(asked(gate, request(content_length="600"), [b"x" * 600]))
    await held.read.acquire()
    assert (await asked(gate, request(content_length="10")))[0] == 503
    assert (await asked(UploadGate(reading, places), request(), [b"x" * 10, b""]))[0] == 503
    other = UploadGate(reading, places)
    assert (await asked(other, request(content_length="300") | {"client": ("10.0.0.2", 1)}, [b"x" * 300]))[0] == 200
    held.end.set()
    assert (await running)[0] == 200
    assert_empty(places)


async def test_sockets_beyond_the_most_are_refused_with_a_status():
    gate = SocketGate(reading, Sockets(most=0))
    extensions = {"websocket.http.response": {}}
    sent = []

    async def send(message):
        sent.append(message)

    await gate({"type": "websocket", "headers": [], "extensions": extensions}, None, send)
    assert sent[0]["type"] == "websocket.http.response.start"
    assert (sent[0]["status"], dict(sent[0]["headers"])[b"retry-after"]) == (503, b"1")
    sent.clear()
    await gate({"type": "websocket", "headers": []}, None, send)
    assert sent[0]["type"] == "websocket.close"


@pytest.mark.parametrize("name", ["two words", "a\tb", "ä", "x" * 101, "a\x1b[31m", "a\x7f"])
async def test_names_that_could_write_into_logs_are_refused(name):
    names = RequestNames(reading)
    assert (await asked(names, request(x_request_id=name)))[0] == 400
    assert (await asked(names, request(x_request_id="4f-5_a:b.c")))[0] == 200
    assert (await asked(names, request(x_request_id="")))[0] == 200


async def test_sound_ahead_of_the_clock_waits():
    ahead = Ahead()
    ahead.sent(60)
    await asyncio.wait_for(ahead.wait(60), 1)
    ahead.sent(60)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(ahead.wait(60), 0.01)
    turns = Turns(per_s=1, most=3)
    for _ in range(3):
        await asyncio.wait_for(turns.take(), 1)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(turns.take(), 0.01)


def test_every_refusal_for_load_says_when_to_come_back():
    for status in (429, 503, 507):
        assert error_response(ApiError(status, "full", retry_after_s=2.1)).headers["retry-after"] == "3"
    assert "retry-after" not in error_response(ApiError(400, "wrong")).headers
