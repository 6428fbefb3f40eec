"""Connections over TLS: counted and bounded from their first byte on."""

import asyncio
import contextlib
import gc
import json
import socket
import ssl
import threading
import time

import pytest
import uvloop
from websockets.asyncio.client import connect

from tests.certificates import certificate
from tests.unit.frontend.serving_kit import UPLOAD, raw, serving, until

# The service's loop, and the other one: they give a connection's first bytes at other moments.
ON_BOTH_LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("pair"))


async def _a_handshake_that_does_not_end_is_counted_and_dropped(pair, said):
    async with serving(pair, header_s=0.1) as (port, connections, _):
        client = await raw(port, said)
        if not said.startswith(b"GET"):
            await until(lambda: len(connections.open) == 1)
        with contextlib.suppress(ConnectionError):
            while await asyncio.get_running_loop().sock_recv(client, 4_096):
                pass
        assert not connections.open
        client.close()


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"])
@ON_BOTH_LOOPS
def test_a_handshake_that_does_not_end_is_counted_and_dropped(run, pair, said):
    run(_a_handshake_that_does_not_end_is_counted_and_dropped(pair, said))
    gc.collect()


async def _a_client_that_leaves_its_handshake_leaves_nothing(pair):
    async with serving(pair) as (port, connections, _):
        client = await raw(port, b"\x16")
        await until(lambda: len(connections.open) == 1)
        client.close()
        await until(lambda: not connections.open)


@ON_BOTH_LOOPS
def test_a_client_that_leaves_its_handshake_leaves_nothing(run, pair):
    run(_a_client_that_leaves_its_handshake_leaves_nothing(pair))
    gc.collect()


async def _over_tls_a_connection_is_one_and_refused_like_any_other(pair):
    context = ssl.create_default_context(cafile=pair.certificate)
    async with serving(pair, most=1) as (port, connections, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert len(connections.open) == 1
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        await until(lambda: not connections.open)
        async with connect(f"wss://127.0.0.1:{port}/", ssl=context) as ws:
            await ws.send(b"x")
            assert len(connections.open) == 1
        await until(lambda: not connections.open)
        connections.crowded = lambda: "full"
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(UPLOAD + b"\r\n" + bytes(400_000))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503")
        assert json.loads(
            await reader.readexactly(
                int(dict(line.split(b": ") for line in head.split(b"\r\n")[1:-2])[b"content-length"])
            )
        )
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@ON_BOTH_LOOPS
def test_over_tls_a_connection_is_one_and_refused_like_any_other(run, pair):
    run(_over_tls_a_connection_is_one_and_refused_like_any_other(pair))
    gc.collect()


async def _a_client_may_speak_before_it_is_accepted(pair):
    context = ssl.create_default_context(cafile=pair.certificate)
    answers = []
    async with serving(pair) as (port, connections, _):

        def client():
            with (
                socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted,
            ):
                encrypted.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answers.append(encrypted.recv(4_096)[:12])

        clients = [threading.Thread(target=client) for _ in range(10)]
        for one in clients:
            one.start()
        # The loop stands still: their first words lie there when it goes on.
        time.sleep(0.2)
        await until(lambda: not any(one.is_alive() for one in clients))
        assert answers == [b"HTTP/1.1 200"] * len(clients)
        await until(lambda: not connections.open)


@ON_BOTH_LOOPS
def test_a_client_may_speak_before_it_is_accepted(run, pair):
    run(_a_client_may_speak_before_it_is_accepted(pair))
    gc.collect()
