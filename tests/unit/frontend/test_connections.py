"""Connections of a real server, and clients that do not read, do not speak, or are gone."""

import asyncio
import contextlib
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from frontend.guard import connections as connections_module
from frontend.guard import guarded_socket
from frontend.guard.uploads import Places, UploadGate
from tests.unit.frontend.serving_kit import HANDSHAKE, UPLOAD, App, raw, serving, until


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(connections_module, "LOOK_S", 0.02)


@pytest.mark.parametrize("request_", [b"GET /talk HTTP/1.1\r\nHost: x\r\n\r\n", HANDSHAKE % b"/talk"])
async def test_a_reader_that_is_late_is_dropped_and_its_work_ends(request_):
    async with serving(reader_s=0.1) as (port, connections, app):
        client = await raw(port, request_)
        await until(lambda: app.ended == 1)
        assert not connections.open
        client.close()


async def test_a_connection_without_a_request_is_dropped():
    async with serving(header_s=0.1) as (port, connections, _):
        silent, halfway = await raw(port, b""), await raw(port, b"GET / HTTP/1.1\r\nHo")
        await until(lambda: len(connections.open) == 2)
        await until(lambda: not connections.open)
        silent.close()
        halfway.close()


async def test_a_connection_that_works_is_kept():
    async with serving(header_s=0.2, reader_s=0.2) as (port, _, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /talk HTTP/1.1\r\nHost: x\r\n\r\n")
        loop = asyncio.get_running_loop()
        end = loop.time() + 0.5
        while loop.time() < end:
            assert await reader.read(100_000)
        writer.close()


async def test_a_socket_that_answers_no_ping_is_dropped(monkeypatch):
    monkeypatch.setattr(guarded_socket, "SILENCE_S", 0.3)
    async with serving() as (port, connections, app):
        client = await raw(port, HANDSHAKE % b"/")
        async with connect(f"ws://127.0.0.1:{port}/") as lively:
            await until(lambda: app.ended == 1)
            # The one whose library answers is there still.
            assert len(connections.open) == 1
            await lively.send(b"x")
        client.close()


async def test_who_asks_and_asks_before_it_is_answered_is_dropped():
    async with serving() as (port, connections, _):
        client = await raw(port, b"GET /talk HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: len(connections.open) == 1)
        with contextlib.suppress(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 30)
        await until(lambda: not connections.open)
        client.close()


async def test_connections_beyond_the_most_are_told_so():
    async with serving(most=1) as (port, connections, _):
        first = await raw(port, b"")
        await until(lambda: len(connections.open) == 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in head
        assert "too many connections" in json.loads(body)["error"]["message"]
        writer.close()
        first.close()
        await until(lambda: not connections.open)
        async with connect(f"ws://127.0.0.1:{port}/"):
            assert len(connections.open) == 1


async def test_an_upload_that_finds_no_place_is_told_so_before_it_is_a_request():
    """All of its answer arrives, although more comes than anybody reads."""
    async with serving() as (port, connections, app):
        connections.crowded = lambda: "too many uploads are worked on"
        told = []
        connections.on_refused = told.append
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(UPLOAD + b"\r\n" + bytes(400_000))
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 Service Unavailable")
            headers = dict(line.lower().split(b": ") for line in head.split(b"\r\n")[1:])
            assert (headers[b"retry-after"], headers[b"connection"]) == (b"1", b"close")
            assert headers[b"x-content-type-options"] == b"nosniff"
            assert int(headers[b"content-length"]) == len(body)
            assert "worked on" in json.loads(body)["error"]["message"]
            writer.close()
        await until(lambda: sum(told) == 2)
        assert app.ended == 0
        # Whoever brings nothing is answered, and so is a page, which has to be let read its answer.
        for request_ in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", UPLOAD + b"Origin: http://x\r\n\r\n" + bytes(400_000)):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request_)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            writer.close()


async def test_of_uploads_that_are_read_in_one_turn_only_those_with_a_place_become_requests():
    begun, end = [], asyncio.Event()

    async def working(scope, receive, send):
        begun.append(scope)
        assert not (await receive())["more_body"]
        await end.wait()
        await App().answer({**scope, "path": "/"}, receive, send)

    places = Places(2, 10**9)
    upload = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + bytes(1_000)
    async with serving(app=UploadGate(working, places)) as (port, connections, _):
        connections.crowded, connections.arrivals = places.crowded, places.arrivals
        refused = []
        connections.on_refused = refused.append
        asked = [await asyncio.open_connection("127.0.0.1", port) for _ in range(6)]
        await until(lambda: len(connections.open) == 6)
        asked[0][1].write(upload)
        await until(lambda: places.working.total == 1)
        for _, writer in asked[1:]:
            # Written at once: the loop, which the server shares, reads all of them in its next turn.
            writer.write(upload)
        await until(lambda: sum(refused) == 4)
        assert (len(begun), places.working.total, places.arrivals.count) == (2, 2, 0)
        end.set()
        heads = sorted([(await reader.readline())[9:12] for reader, _ in asked])
        assert heads == [b"200"] * 2 + [b"503"] * 4
        await until(lambda: not places.working.total)
        # Where half of the places are free, one that arrives, and may be refused for its own sake, takes none.
        for _ in range(2):
            places.arrivals.new().complete()
        assert places.crowded() is None
        for _, writer in asked:
            writer.close()


async def test_who_is_answered_before_its_upload_has_a_place_takes_none():
    places = Places(1, 10**9)
    async with serving() as (port, connections, _):
        connections.crowded, connections.arrivals = places.crowded, places.arrivals
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            assert places.arrivals.count == 0
            writer.close()


async def test_a_socket_that_finds_no_place_is_told_so_before_it_is_one():
    async with serving() as (port, connections, app):
        connections.no_sockets = lambda: "too many live sessions"
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"ws://127.0.0.1:{port}/"):
                pass
        answer = caught.value.response
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "live sessions" in json.loads(answer.body)["error"]["message"]
        assert app.ended == 0
        await until(lambda: not connections.open)
        connections.no_sockets = lambda: None
        async with connect(f"ws://127.0.0.1:{port}/"):
            assert len(connections.open) == 1


@pytest.mark.parametrize("more", [b"", bytes(300_000)])
async def test_who_is_refused_and_does_not_end_is_dropped(more, monkeypatch):
    monkeypatch.setattr(connections_module, "LINGER_S", 60.0 if more else 0.1)
    monkeypatch.setattr(connections_module, "LINGER_BYTES", 100_000)
    async with serving() as (port, connections, _):
        connections.crowded = lambda: "full"
        client = await raw(port, UPLOAD + b"\r\n")
        await until(lambda: connections.open)
        with contextlib.suppress(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(client, more)
        await until(lambda: not connections.open)
        client.close()


@pytest.mark.parametrize("path", ["/small", "/smal%6C", "/%73mall?x=1"])
async def test_messages_have_a_bound_by_path(path):
    async with serving() as (port, _, _), connect(f"ws://127.0.0.1:{port}{path}") as ws:
        await ws.send(bytes(1_001))
        with pytest.raises(ConnectionClosed) as caught:
            await ws.recv()
        assert caught.value.rcvd.code == 1009


async def test_messages_that_are_never_complete_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(connections_module, "MOST_HELD_BYTES", 50_000)
    async with serving() as (port, connections, app):
        header = bytes([0x82, 0xFE]) + (60_000).to_bytes(2, "big") + bytes(4)
        client = await raw(port, HANDSHAKE % b"/")
        await asyncio.get_running_loop().sock_recv(client, 4_096)
        await asyncio.get_running_loop().sock_sendall(client, header + bytes(55_000))
        await until(lambda: app.ended == 1)
        assert not connections.open
        client.close()


@pytest.mark.parametrize("path", ["/hold", "/"])
async def test_whole_messages_count_as_long_as_they_wait_or_are_worked_on(path, monkeypatch):
    monkeypatch.setattr(connections_module, "MOST_HELD_BYTES", 150_000)
    async with serving() as (port, connections, app):
        url = f"ws://127.0.0.1:{port}{path}"
        async with connect(url) as first, connect(url) as second:
            # One that is worked on, in fragments and of two bytes a character, and one that waits.
            for message in (["ä" * 5_000, "ä" * 5_000], b"x" * 40_000):
                await first.send(message)
            held = 60_000 if path == "/hold" else 0
            await until(lambda: sum(one.held() for one in connections.open) == held)
            assert len(connections.open) == 2
            await second.send(b"x" * 100_000)
            if path == "/":
                # Who is done with one has it no more.
                await until(lambda: not sum(one.held() for one in connections.open))
                return
            # The largest is told, the others stay.
            with pytest.raises(ConnectionClosed) as caught:
                await second.recv()
            assert caught.value.rcvd.code == 1013
            assert "memory" in caught.value.rcvd.reason
            assert len(connections.open) == 1
            app.held.set()
            await until(lambda: not sum(one.held() for one in connections.open))


async def test_messages_as_large_as_realtime_has_them_are_bounded_when_they_are_complete(monkeypatch):
    """At once, not at the next look; who has sent less is not harmed, and goes on."""
    monkeypatch.setattr(connections_module, "LOOK_S", 60.0)
    monkeypatch.setattr(connections_module, "MOST_HELD_BYTES", 35 * 2**20)
    # Dropped when it has read why.
    monkeypatch.setattr(guarded_socket, "LOOK_S", 0.1)
    async with serving() as (port, connections, app), contextlib.AsyncExitStack() as stack:
        url = f"ws://127.0.0.1:{port}/hold"
        sockets = [await stack.enter_async_context(connect(url)) for _ in range(4)]
        held = 0
        for ws, size in zip(sockets, (10 * 2**20, 10 * 2**20, 15 * 2**20), strict=False):
            held += size
            await ws.send("x" * size)
            await until(lambda held=held: held_of(connections) == held)
        # Together just as much as there may be: nobody is told anything.
        assert len(connections.open) == 4
        await sockets[3].send("x" * 2**20)
        with pytest.raises(ConnectionClosed) as caught:
            await sockets[2].recv()
        assert (caught.value.rcvd.code, len(connections.open)) == (1013, 3)
        app.held.set()
        await until(lambda: not held_of(connections))
        for ws in (sockets[0], sockets[1], sockets[3]):
            await ws.send("x")
            await (await ws.ping())


def held_of(connections):
    return sum(one.held() for one in connections.open)


async def test_a_refused_socket_is_no_error_of_the_server(caplog):
    async with serving() as (port, _, _):
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"ws://127.0.0.1:{port}/full?context=secret"):
                pass
        assert caught.value.response.status_code == 503
        assert caught.value.response.headers["retry-after"] == "1"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert "secret" not in caplog.text


async def test_messages_that_a_route_takes_by_the_shortcut_keep_their_order():
    async with serving() as (port, _, app):
        async with connect(f"ws://127.0.0.1:{port}/shortcut") as client:
            for number in range(300):
                if number % 50 == 49:
                    await client.send(str(number))
                elif number % 70 == 69:
                    await client.send([b"%d" % number, b"", b""])
                else:
                    await client.send(b"%d" % number)
        await until(lambda: app.ended == 1)
    assert [data for data, _ in app.heard] == [b"%d" % number for number in range(300)]
    assert sum(by_shortcut for _, by_shortcut in app.heard) >= 9
    assert sum(not by_shortcut for _, by_shortcut in app.heard) > 20
