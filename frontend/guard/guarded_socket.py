"""A WebSocket whose client has to answer pings and to read what it is told, and whose messages hold bounded memory."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import Any
from urllib.parse import unquote

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets import http11
from websockets.protocol import State

from frontend.guard import heads
from frontend.guard.connections import LOOK_S, Connections
from frontend.guard.late_readers import LateReader
from frontend.guard.shortcut import SHORTCUT, Shortcut

# Two pings that nobody answered.
SILENCE_S = 45.0
TRY_AGAIN_LATER = 1013
# A complete message of so many bytes is judged with those of all others at once.
LARGE_BYTES = 2**20

# The library reads a request once more, line by line. What WEBSOCKETS_MAX_LINE_LENGTH would set, had nobody imported it
# before; a line has a method or a version beside what is bounded.
http11.MAX_LINE_LENGTH = heads.MOST_BYTES + 100


class GuardedSocket(LateReader, WebSocketsSansIOProtocol):
    """A WebSocket."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._guard = connections
        self._heard_at = time.monotonic()
        self._shortcut = Shortcut()
        # Bytes of each message that waits, and of the one that the application has not asked on from.
        self._waiting: deque[int] = deque()
        self._worked_on = 0
        # At `info` the library writes addresses with their query, where words to expect may stand.
        self.logger = logging.getLogger(f"{__name__}.websocket")
        self.logger.setLevel(logging.WARNING)
        self.conn.logger = self.logger

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._guard.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._shortcut.left = True
        self._guard.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._heard_at = time.monotonic()
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated and not self.transport.is_closing():
            # It would be left without an answer. Nothing more is said, when the server ends just now either.
            self.handshake_complete = self.close_sent = True
            self.transport.write(heads.NOT_UNDERSTOOD)
            self.transport.close()

    def shutdown(self) -> None:
        if self.handshake_complete and not self.close_sent and not self._may_be_told:
            # Who has said goodbye and reads nothing is told nothing more.
            self.stop_keepalive()
            self.transport.close()
        else:
            super().shutdown()

    def handle_connect(self, event: Any) -> None:
        # As the routes are found.
        path = unquote(event.path.partition("?")[0])
        self.conn.max_message_size = self._guard.message_bytes.get(path, self.config.ws_max_size)
        super().handle_connect(event)
        if self.handshake_initiated and not self.close_sent:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[SHORTCUT] = self._shortcut

    def send_receive_event_to_app(self) -> None:
        take = self._shortcut.take
        # What waits to be taken by the route's task, while reading is paused, is not overtaken.
        if take is not None and self.curr_msg_data_type == "bytes" and not self.read_paused and not self.close_sent:
            data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
            if take(data):
                self.frames = []
                return
        size, before = sum(map(len, self.frames)), self.queue.qsize()
        super().send_receive_event_to_app()
        # What is no text, or comes after the end, does not wait.
        if self.queue.qsize() > before:
            self._waiting.append(size)
            if size >= LARGE_BYTES:
                # Many of them may come before the next look.
                self._guard.bound_memory()

    async def receive(self) -> Any:
        # Whoever asks for the next one is done with the one before.
        self._worked_on = 0
        message: Any = await super().receive()
        if message["type"] == "websocket.receive":
            self._worked_on = self._waiting.popleft()
        return message

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            # An answer that refuses is complete; the library would log an error for it.
            self.handshake_complete = True

    def overdue(self, now: float) -> str | None:
        if self.is_late(now, self._guard.reader_s):
            return "its client does not read what is said"
        # While nothing is read of it, because it sends faster than it may, its pongs are not seen either.
        if not self.read_paused and now - self._heard_at > SILENCE_S:
            return "it answers no ping"
        return None

    def held(self) -> int:
        return len(self.conn.reader.buffer) + sum(map(len, self.frames)) + sum(self._waiting) + self._worked_on

    @property
    def _may_be_told(self) -> bool:
        """Whether neither side has said goodbye."""
        return self.conn.state is State.OPEN

    def give_up(self) -> None:
        if self._may_be_told:
            self.conn.send_close(TRY_AGAIN_LATER, "the messages of now hold too much memory: send less at a time")
            self.transport.write(b"".join(self.conn.data_to_send()))
        # What was told may have left by then.
        self.loop.call_later(LOOK_S, self.transport.abort)
