"""Connections over TLS from their first byte on: counted, and given up where the handshake does not come to its end."""

from __future__ import annotations

import asyncio
import functools
import logging
import ssl
import time
from collections.abc import Coroutine, Generator
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
        self._early: list[bytes] = []
        self._shaking: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport

    # uvloop's transports are no subclass of asyncio's.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        if self._guard.full:
            # Without TLS there is no way to say so.
            transport.abort()
            return
        self._since = time.monotonic()
        self._guard.add(self)
        loop = asyncio.get_running_loop()
        # Begun now, not by the task: uvloop reads as soon as this call is over, whether that was paused or not, and
        # what TLS is not there to take would be lost.
        shaking = _Begun(loop.start_tls(transport, self, self._context, server_side=True))
        self._shaking = loop.create_task(self._shake(shaking))

    def data_received(self, data: bytes) -> None:
        # What came in the last packet of the handshake.
        self._early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.remove(self)
        if self._shaking is not None:
            self._shaking.cancel()

    def overdue(self, now: float) -> str | None:
        return "its handshake does not end" if now - self._since > self._guard.header_s else None

    def held(self) -> int:
        return 0

    def give_up(self) -> None:
        self.transport.abort()

    async def _shake(self, shaking: _Begun) -> None:
        try:
            transport = await shaking
        except OSError as error:
            logger.debug("no TLS with a client: %s", error)
            self.transport.abort()
            return
        finally:
            self._guard.remove(self)
        assert transport is not None
        http = GuardedHttp(self._guard, **self._given)
        transport.set_protocol(http)
        http.connection_made(transport)
        for data in self._early:
            http.data_received(data)


class _Begun:
    """A coroutine that has run to its first pause already; whoever awaits this goes on from there."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._pause = coroutine.send(None)

    def __await__(self) -> Generator[Any, Any, Any]:
        pause = self._pause
        while True:
            try:
                yield pause
            except BaseException as error:
                step = functools.partial(self._coroutine.throw, error)
            else:
                step = functools.partial(self._coroutine.send, None)
            try:
                pause = step()
            except StopIteration as end:
                return end.value


def server_context(certificate: Any, key: Any) -> ssl.SSLContext:
    """For connections of clients. Raises OSError where the files cannot serve (`tls.check` has seen them)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    return context
