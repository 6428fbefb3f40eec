"""Connections over TLS from their first byte on: counted, and given up where the handshake does not come to its end."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from typing import Any

from frontend.guard.connections import Connections, GuardedHttp

logger = logging.getLogger(__name__)


class Handshake(asyncio.Protocol):
    """Stands for a connection until its TLS does, and becomes a GuardedHttp then. (A server that is told of TLS itself
    knows a connection after the handshake only: those that never end one would be as many as anybody likes.)"""

    def __init__(self, connections: Connections, context: ssl.SSLContext, **given: Any) -> None:
        """given: for GuardedHttp."""
        self._guard = connections
        self._context = context
        self._given = given
        self._since = 0.0
        # What was read before TLS had begun, and what came in the last packet of its handshake.
        self._hello: list[bytes] = []
        self._early: list[bytes] = []
        self._is_begun = False
        self._shaking: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        if len(self._guard.open) >= self._guard.most:
            # Without TLS there is no way to say so.
            transport.abort()
            return
        self._since = time.monotonic()
        self._guard.open.add(self)
        self._shaking = asyncio.get_running_loop().create_task(self._shake())

    def data_received(self, data: bytes) -> None:
        (self._early if self._is_begun else self._hello).append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.open.discard(self)
        if self._shaking is not None:
            self._shaking.cancel()

    def overdue(self, now: float) -> str | None:
        return "its handshake does not end" if now - self._since > self._guard.header_s else None

    def held(self) -> int:
        return 0

    def give_up(self) -> None:
        self.transport.abort()

    async def _shake(self) -> None:
        loop = asyncio.get_running_loop()
        starting = loop.create_task(loop.start_tls(self.transport, self, self._context, server_side=True))
        try:
            # By the first turn it has taken the connection over, by the second it waits for the client; nothing is read
            # in between. A client on this machine may have spoken before that.
            for _ in range(2):
                await asyncio.sleep(0)
            self._is_begun = True
            for data in self._hello:
                _feed(self.transport.get_protocol(), data)
            transport = await starting
        except OSError as error:
            logger.debug("no TLS with a client: %s", error)
            self.transport.abort()
            return
        finally:
            starting.cancel()
            self._guard.open.discard(self)
        assert transport is not None
        http = GuardedHttp(self._guard, **self._given)
        transport.set_protocol(http)
        http.connection_made(transport)
        for data in self._early:
            http.data_received(data)


def _feed(protocol: Any, data: bytes) -> None:
    """Give bytes to a protocol as its transport would."""
    if not hasattr(protocol, "get_buffer"):
        protocol.data_received(data)
        return
    while data:
        buffer = protocol.get_buffer(len(data))
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]


def server_context(certificate: Any, key: Any) -> ssl.SSLContext:
    """For connections of clients. Raises OSError where the files cannot serve (`tls.check` has seen them)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    return context
