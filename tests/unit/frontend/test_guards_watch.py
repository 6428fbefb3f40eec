"""The guard's watch, which ends for nobody: not for a connection that fails, nor in silence."""

import asyncio

import pytest

from frontend.app import create_app
from frontend.guard import connections as connections_module
from frontend.guard.connections import Connections
from frontend.server import serve
from frontend.settings import Settings
from tests.unit.frontend.serving_kit import HANDSHAKE, raw, serving, until


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(connections_module, "LOOK_S", 0.02)


class Transport:
    def __init__(self):
        self.aborted = False

    def abort(self):
        self.aborted = True


class One:
    """A connection that is overdue, or holds too much; or that fails when it is asked."""

    def __init__(self, size=0, broken=""):
        self.transport = Transport()
        self._size, self._broken = size, broken
        self.asked = 0

    def overdue(self, _):
        self.asked += 1
        if self._broken == "overdue":
            raise ValueError("our own mistake")

    def held(self):
        return self._size

    def give_up(self):
        if self._broken == "give_up":
            raise ValueError("our own mistake")
        self.transport.abort()


def frame(opcode, payload):
    """What a client sends: masked, and here with zeros."""
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + size + bytes(4) + payload


@pytest.mark.parametrize("ending", ["too much memory", "the end of the server"])
async def test_who_has_said_goodbye_and_reads_nothing_ends_in_order(monkeypatch, caplog, ending):
    async with serving() as (port, connections, app):
        client = await raw(port, HANDSHAKE % b"/talk")
        await until(lambda: any(one.is_late(1e12, 1.0) for one in connections.open))
        await asyncio.get_running_loop().sock_sendall(client, frame(2, bytes(50_000)) + frame(8, b"\x03\xe8"))
        await until(lambda: sum(one.held() for one in connections.open) == 50_000)
        if ending == "too much memory":
            monkeypatch.setattr(connections_module, "MOST_HELD_BYTES", 10_000)
            async with asyncio.timeout(5):
                await until(lambda: app.ended == 1)
    assert app.ended == 1
    assert "InvalidState" not in caplog.text
    client.close()


async def test_a_connection_that_fails_is_dropped_and_the_others_are_looked_at(monkeypatch, caplog):
    monkeypatch.setattr(connections_module, "MOST_HELD_BYTES", 100)
    guard = Connections(most=10, header_s=60.0, reader_s=60.0)
    guard.on_refused = lambda _: 1 / 0
    guard.answer("full")
    silent, broken, large, well = One(broken="overdue"), One(200, broken="give_up"), One(150), One(50)
    for one in (silent, broken, large, well):
        guard.add(one)
    watching = asyncio.create_task(guard.watch())
    async with asyncio.timeout(5):
        await until(lambda: well.asked > 3)
    assert guard.open == {well}
    assert [one.transport.aborted for one in (silent, broken, large, well)] == [True, True, True, False]
    # Each with its traceback, once.
    assert caplog.text.count("ValueError: our own mistake") == 2
    assert caplog.text.count("ZeroDivisionError: ") == 1
    assert not watching.done()
    watching.cancel()


@pytest.mark.parametrize("ends", [None, ValueError("our own mistake")])
async def test_a_server_whose_watch_ends_ends_itself(monkeypatch, caplog, ends):
    async def watch(_):
        if ends is not None:
            raise ends

    monkeypatch.setattr(Connections, "watch", watch)
    settings = Settings(triton_url="127.0.0.1:1", host="127.0.0.1", port=0)

    async def begun(_):
        pass

    async with asyncio.timeout(20):
        assert await serve(create_app(settings), settings, begun) == 1
    assert "connections are not watched any more" in caplog.text
    assert ("our own mistake" in caplog.text) is (ends is not None)
