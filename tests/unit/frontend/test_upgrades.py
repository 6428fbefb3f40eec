"""What asks to become a WebSocket, and is none, or not yet, or not as it asks."""

import asyncio
import json

import pytest
from websockets.asyncio.client import connect

from frontend.guard import connections as connections_module
from frontend.guard import heads
from frontend.guard.uploads import Places
from tests.unit.frontend.serving_kit import HANDSHAKE, raw, serving, until

UPGRADE = b"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(connections_module, "LOOK_S", 0.02)


async def told(port, request_):
    """What a request is answered, to the end of its connection: status, headers, error."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_)
    async with asyncio.timeout(5):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    first, *lines = head.split(b"\r\n")
    return int(first[9:12]), dict(line.split(b": ", 1) for line in lines), json.loads(body)["error"]


@pytest.mark.parametrize("body", [b"\r\n", b"Content-Length: 0\r\n\r\n", b"Content-Length: 3\r\n\r\nabc"])
async def test_an_upload_that_asks_to_become_a_socket_is_refused_and_counts_as_nothing(body, caplog):
    places = Places(1, 10**9)
    async with serving() as (port, connections, app):
        connections.crowded, connections.arrivals = places.crowded, places.arrivals
        for _ in range(5):
            status, headers, error = await told(port, b"POST / HTTP/1.1\r\n" + UPGRADE + body)
            assert (status, headers[b"allow"], headers[b"connection"]) == (405, b"GET", b"close")
            assert "GET" in error["message"]
        assert (places.arrivals.count, places.crowded(), app.ended) == (0, None, 0)
        await until(lambda: not connections.open)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("body", [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
async def test_a_socket_is_asked_for_without_a_body(body):
    async with serving() as (port, connections, app):
        status, _, error = await told(port, HANDSHAKE[:-2] % b"/" + body)
        assert (status, error["message"]) == (400, "what is to become a WebSocket has no body")
        await until(lambda: not connections.open)
        assert app.ended == 0


async def test_what_is_refused_for_want_of_room_becomes_no_socket_either(caplog):
    async with serving() as (port, connections, app):
        connections.crowded = lambda: "too many uploads are worked on"
        connections.no_sockets = lambda: "too many live sessions"
        for request_ in (b"POST / HTTP/1.1\r\n" + UPGRADE + b"\r\n", HANDSHAKE % b"/"):
            status, _, _ = await told(port, request_)
            assert status in (405, 503)
        await until(lambda: not connections.open)
        assert app.ended == 0
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("full", [None, "too many live sessions"])
async def test_a_socket_that_is_asked_for_behind_a_running_request_ends_both(full):
    """The request's work ends as well, although nothing of its answer is read."""
    async with serving() as (port, connections, app):
        connections.no_sockets = lambda: full
        client = await raw(port, b"POST /talk HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        await until(lambda: any(one.is_late(1e12, 1.0) for one in connections.open))
        await asyncio.get_running_loop().sock_sendall(client, HANDSHAKE % b"/")
        async with asyncio.timeout(5):
            await until(lambda: app.ended == 1)
        assert not connections.open
        client.close()


async def test_settings_in_an_address_may_be_long():
    async with serving() as (port, connections, _), connect(f"ws://127.0.0.1:{port}/?context={'%E5%90%AC' * 7_000}"):
        assert len(connections.open) == 1


@pytest.mark.parametrize("request_", [HANDSHAKE, b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_heads_that_are_too_large_are_told_so_at_once(request_, caplog):
    async with serving() as (port, connections, app):
        long, many = b"/?context=" + b"x" * 70_000, b"X: y\r\n" * 140
        for given, status in (
            (request_ % long, 414),
            (request_[:-2] % b"/" + b"X: " + b"y" * 70_000 + b"\r\n\r\n", 431),
            (request_[:-2] % b"/" + many + b"\r\n", 431),
            # What does not end is not waited for.
            (b"GET /" + b"x" * 400_000, 414),
            (b"GET / HTTP/1.1\r\nX: " + b"y" * 400_000, 431),
        ):
            found, headers, error = await told(port, given)
            assert (found, headers[b"connection"], error["type"]) == (status, b"close", "invalid_request_error")
        await until(lambda: not connections.open)
        assert app.ended == 0
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_head_of_any_length_behind_a_running_request_ends_it():
    async with serving() as (port, connections, app):
        client = await raw(port, b"GET /talk HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: len(connections.open) == 1)
        await asyncio.get_running_loop().sock_sendall(client, b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(5):
            await until(lambda: app.ended == 1)
        assert not connections.open
        client.close()


async def test_what_the_library_of_sockets_does_not_understand_is_answered_at_once(monkeypatch):
    """More headers than it takes, as it were not for our own bound."""
    monkeypatch.setattr(heads, "MOST_HEADERS", 1_000)
    async with serving() as (port, connections, app):
        status, headers, error = await told(port, HANDSHAKE[:-2] % b"/" + b"X: y\r\n" * 140 + b"\r\n")
        assert (status, headers[b"connection"]) == (400, b"close")
        assert "WebSocket" in error["message"]
        await until(lambda: not connections.open)
        assert app.ended == 0
