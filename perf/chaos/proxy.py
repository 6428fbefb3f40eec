"""A wire between the frontend and Triton that can be cut, slowed, halved, or left without an answer."""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum


class Wire(Enum):
    """whole: as if it were not there. slow: 100 ms each way. half: the next message is cut in the middle and the
    connection ends. silent: nothing passes, and nobody says so. cut: connections end, new ones are refused."""

    WHOLE = "whole"
    SLOW = "slow"
    HALF = "half"
    SILENT = "silent"
    CUT = "cut"


class Proxy:
    """Passes TCP on to 127.0.0.1:`port`; `await set(...)` makes the wire bad, or good again."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._state = Wire.WHOLE
        self._writers: set[asyncio.StreamWriter] = set()
        self._halved: set[asyncio.StreamWriter] = set()
        self._whole = asyncio.Event()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Proxy:
        self._whole.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._close_all()

    def set(self, state: Wire) -> None:
        self._state = state
        if state is Wire.SILENT:
            self._whole.clear()
        else:
            self._whole.set()
        if state is Wire.CUT:
            self._close_all()

    def _close_all(self) -> None:
        for writer in [*self._writers]:
            # At once, as a cable that is pulled out and a router that says so.
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._state is Wire.CUT:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        ways = [asyncio.create_task(self._pass(reader, back)), asyncio.create_task(self._pass(there, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for end in (writer, back):
            end.transport.abort()
            self._writers.discard(end)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if self._state is Wire.SLOW:
                    await asyncio.sleep(0.1)
                await self._whole.wait()
                if self._state is Wire.HALF:
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    return
                writer.write(data)
                await writer.drain()
