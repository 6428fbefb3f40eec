"""A client's WebSocket that costs next to nothing: `websockets`' protocol on a transport, without a task or a queue for
each of them. A thousand of them talk in one process beside the server that is measured."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri


class Socket(asyncio.Protocol):
    """Send at any time; what comes is told to a function. Raises OSError and websockets' errors where it is opened."""

    def __init__(self, address: str, told: Callable[[str], None]) -> None:
        """address: ws:// or wss://. told: takes each text message."""
        self._uri = parse_uri(address)
        self._protocol = ClientProtocol(self._uri, max_size=None)
        self._told = told
        self._parts: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()

    async def open(self, timeout_s: float = 60.0) -> None:
        context = ssl.create_default_context() if self._uri.secure else None
        connecting = asyncio.get_running_loop().create_connection(
            lambda: self, self._uri.host, self._uri.port, ssl=context
        )
        await asyncio.wait_for(connecting, timeout_s)
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        await asyncio.wait_for(self._opened, timeout_s)

    def send(self, message: bytes | str) -> None:
        """Nothing waits: whoever speaks at the pace of speech sends little. Raises websockets' InvalidState, an
        exception of WebSocketException, where it is closed."""
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)
        self._flush()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are of no common class with asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        self._take()

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._take()

    def connection_lost(self, exception: Exception | None) -> None:
        if not self._opened.done():
            failed = self._protocol.handshake_exc or exception
            self._opened.set_exception(failed or ConnectionResetError("the server closed the connection"))
        if not self.closed.done():
            self.closed.set_result(None)

    def _take(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                if self._protocol.handshake_exc is None and not self._opened.done():
                    self._opened.set_result(None)
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.CONT):
                self._parts.append(bytes(event.data))
                if event.fin:
                    message, self._parts = b"".join(self._parts).decode(), []
                    self._told(message)
        self._flush()

    def _flush(self) -> None:
        assert self._transport is not None
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.close()
