"""Connections over TLS: counted and bounded from their first byte on."""

import asyncio
import contextlib
import json
import ssl

import pytest
import uvloop
from websockets.asyncio.client import connect

from tests.certificates import certificate
from tests.unit.frontend.serving_kit import UPLOAD, raw, serving, until


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("pair"))


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"])
async def test_a_handshake_that_does_not_end_is_counted_and_dropped(pair, said):
    async with serving(pair, header_s=0.1) as (port, connections, _):
        client = await raw(port, said)
        if not said.startswith(b"GET"):
            await until(lambda: len(connections.open) == 1)
        with contextlib.suppress(ConnectionError):
            while await asyncio.get_running_loop().sock_recv(client, 4_096):
                pass
        assert not connections.open
        client.close()


async def test_a_client_that_leaves_its_handshake_leaves_nothing(pair):
    async with serving(pair) as (port, connections, _):
        client = await raw(port, b"\x16")
        await until(lambda: len(connections.open) == 1)
        client.close()
        await until(lambda: not connections.open)


async def test_over_tls_a_connection_is_one_and_refused_like_any_other(pair):
    context = ssl.create_default_context(cafile=pair.certificate)
    async with serving(pair, most=1) as (port, connections, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert len(connections.open) == 1
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.close()
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


def test_no_first_bytes_are_lost_on_the_servers_own_loop(pair):
    context = ssl.create_default_context(cafile=pair.certificate)

    async def asked(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        status = await reader.readline()
        writer.close()
        return status

    async def many():
        async with serving(pair) as (port, _, _), asyncio.timeout(60):
            return [await asyncio.gather(*(asked(port) for _ in range(20))) for _ in range(5)]

    for answers in uvloop.run(many()):
        assert set(answers) == {b"HTTP/1.1 200 OK\r\n"}
