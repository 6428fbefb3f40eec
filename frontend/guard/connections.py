"""Connections: how many, and how long each may keep its place without a request, a pong, or reading its answer."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from frontend.errors import ApiError, error_body

logger = logging.getLogger(__name__)

LOOK_S = 0.5
PING_S = 20.0
# Two pings that nobody answered.
SILENCE_S = 45.0
# Requests that may be sent before the first of them is answered; uvicorn would keep any number.
MOST_PIPELINED = 20
# Bytes of WebSocket messages that are not complete, of all connections.
MOST_HELD_BYTES = 256 * 2**20
_FULL_BODY = json.dumps(error_body(ApiError(503, "too many connections: try again soon"))).encode()
FULL = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-type: application/json\r\n"
FULL += b"content-length: %d\r\n\r\n%s" % (len(_FULL_BODY), _FULL_BODY)


# In a WebSocket's scope, among the extensions: its Shortcut.
SHORTCUT = "frontend.shortcut"


@dataclass
class Shortcut:
    """How a route takes binary messages as they come, which costs a fraction of a turn of its task for each. take:
    whether it took the message; the route is told of others as of all messages. None while order asks for that."""

    take: Callable[[bytes], bool] | None = None


class Connection(Protocol):
    """One of either kind, as it is watched."""

    transport: asyncio.Transport

    def overdue(self, now: float) -> str | None:
        """Why it is to be dropped, or None."""

    def held(self) -> int:
        """Bytes of a message that is not complete."""


class Connections:
    """All that are open. Those that are overdue are aborted: a closed one would still wait for its reader."""

    def __init__(self, most: int, header_s: float, reader_s: float) -> None:
        """header_s: until a request's headers are there; reader_s: how late a client may be in reading its answer."""
        self.most = most
        self.header_s = header_s
        self.reader_s = reader_s
        self.open: set[Connection] = set()
        # By path: WebSocket messages that have a smaller bound than the rest.
        self.message_bytes: dict[str, int] = {}

    async def watch(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            for one in [*self.open]:
                if reason := one.overdue(now):
                    self.drop(one, reason)
            for one in self._too_large():
                self.drop(one, "messages that are not complete hold too much memory")

    def _too_large(self) -> list[Connection]:
        """Those whose unfinished messages are the largest, until the rest is within the bound."""
        by_size = sorted(((one.held(), one) for one in self.open), key=lambda pair: -pair[0])
        held = sum(size for size, _ in by_size)
        found = []
        for size, one in by_size:
            if held <= MOST_HELD_BYTES:
                break
            held -= size
            found.append(one)
        return found

    def drop(self, one: Connection, reason: str) -> None:
        """Abort it."""
        logger.info("a connection is dropped: %s", reason)
        self.open.discard(one)
        one.transport.abort()


class GuardedHttp(HttpToolsProtocol):
    """An HTTP connection."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._guard = connections
        self._waiting_since = self._late_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waiting_since = time.monotonic()
        if len(self._guard.open) >= self._guard.most:
            transport.write(FULL)
            transport.close()
            return
        self._guard.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.open.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # Refused at once, it may have sent its request all the same.
        if not self.transport.is_closing():
            super().data_received(data)

    def handle_websocket_upgrade(self) -> None:
        self._guard.open.discard(self)
        super().handle_websocket_upgrade()

    def on_headers_complete(self) -> None:
        if self.transport.is_closing():
            return
        if len(self.pipeline) >= MOST_PIPELINED:
            self._guard.drop(self, "it asks and asks before it is answered")
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.transport.is_closing():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        self._waiting_since = time.monotonic()
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._late_since = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._late_since = 0.0
        super().resume_writing()

    def overdue(self, now: float) -> str | None:
        if self._late_since and now - self._late_since > self._guard.reader_s:
            return "its client does not read the answer"
        idle = self.cycle is None or self.cycle.response_complete
        if idle and now - self._waiting_since > self._guard.header_s:
            return "no request came"
        return None

    def held(self) -> int:
        return 0


class GuardedSocket(WebSocketsSansIOProtocol):
    """A WebSocket."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._guard = connections
        self._heard_at = time.monotonic()
        self._late_since = 0.0
        self._shortcut = Shortcut()
        # At `info` the library writes addresses with their query, where words to expect may stand.
        self.logger = logging.getLogger(f"{__name__}.websocket")
        self.logger.setLevel(logging.WARNING)
        self.conn.logger = self.logger

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._guard.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.open.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._heard_at = time.monotonic()
        super().data_received(data)

    def handle_connect(self, event: Any) -> None:
        # As the routes are found.
        path = unquote(event.path.partition("?")[0])
        self.conn.max_message_size = self._guard.message_bytes.get(path, self.config.ws_max_size)
        super().handle_connect(event)
        if self.handshake_initiated and not self.close_sent:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[SHORTCUT] = self._shortcut

    def send_receive_event_to_app(self) -> None:
        # What waits to be taken by the route's task, while reading is paused, is not overtaken.
        take = (
            None if self.read_paused or self.close_sent or self.curr_msg_data_type != "bytes" else self._shortcut.take
        )
        if take is not None:
            data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
            if take(data):
                self.frames = []
                return
        super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            # An answer that refuses is complete; the library would log an error for it.
            self.handshake_complete = True

    def pause_writing(self) -> None:
        self._late_since = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._late_since = 0.0
        super().resume_writing()

    def overdue(self, now: float) -> str | None:
        if self._late_since and now - self._late_since > self._guard.reader_s:
            return "its client does not read what is said"
        # While nothing is read of it, because it sends faster than it may, its pongs are not seen either.
        if not self.read_paused and now - self._heard_at > SILENCE_S:
            return "it answers no ping"
        return None

    def held(self) -> int:
        return len(self.conn.reader.buffer) + sum(map(len, self.frames))
