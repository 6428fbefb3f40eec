"""Connections: how many, and how long each may keep its place without a request, a pong, or reading its answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from frontend.errors import ApiError
from frontend.guard import heads
from frontend.guard.arrivals import ARRIVAL, Arrival, Arrivals
from frontend.guard.counts import CONNECTIONS, Count, alone
from frontend.guard.late_readers import LateReader
from frontend.guard.refusals import as_bytes
from frontend.guard.uploads import full

logger = logging.getLogger(__name__)

LOOK_S = 0.5
PING_S = 20.0
# Requests that may be sent before the first of them is answered; uvicorn would keep any number.
MOST_PIPELINED = 20
# Bytes of WebSocket messages, of all connections: not complete, waiting for their turn, or being worked on.
MOST_HELD_BYTES = 256 * 2**20
# Who is refused may still be sending: what comes is thrown away for a while, as a connection that is closed on unread
# bytes takes the answer with it.
LINGER_S, LINGER_BYTES = 5.0, 2**20
FULL = as_bytes(ApiError(503, "too many connections: try again soon"))


class Connection(Protocol):
    """One of either kind, as it is watched."""

    transport: asyncio.Transport

    def overdue(self, now: float) -> str | None:
        """Why it is to be dropped, or None."""

    def held(self) -> int:
        """Bytes of messages that are not complete, wait, or are worked on."""

    def give_up(self) -> None:
        """Say that they hold too much memory, and end."""


class Connections:
    """All that are open. Those that are overdue are aborted: a closed one would still wait for its reader."""

    def __init__(self, most: int, header_s: float, reader_s: float, count: Count | None = None) -> None:
        """header_s: until a request's headers are there; reader_s: how late a client may be in reading its answer.
        count: of the whole service, which `most` bounds."""
        self.most = most
        self.header_s = header_s
        self.reader_s = reader_s
        self.open: set[Connection] = set()
        self._count = count or alone(CONNECTIONS)
        # By path: WebSocket messages that have a smaller bound than the rest.
        self.message_bytes: dict[str, int] = {}
        # Why an upload finds no place whoever sends it, or None. Asked as soon as its headers are there: under load
        # this is what most requests are told, and nothing else is done for them.
        self.crowded: Callable[[], str | None] = lambda: None
        # Those that find one and are not counted yet.
        self.arrivals = Arrivals()
        # The same for a WebSocket.
        self.no_sockets: Callable[[], str | None] = lambda: None
        # Called with how many were told so, some time later.
        self.on_refused: Callable[[int], None] = lambda _: None
        self._answers: dict[str, bytes] = {}
        self._refused: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """Whether one more would be too many."""
        return self._count.total >= self.most

    def add(self, one: Connection) -> None:
        self.open.add(one)
        self._count.set(len(self.open))

    def remove(self, one: Connection) -> None:
        self.open.discard(one)
        self._count.set(len(self.open))

    def answer(self, why: str) -> bytes:
        """What an upload or a WebSocket is told that finds no place."""
        self._refused[why] += 1
        if why not in self._answers:
            self._answers[why] = as_bytes(full(why))
        return self._answers[why]

    async def watch(self) -> None:
        """Until it is cancelled. No mistake of ours ends it: there would be no bounds any more."""
        while True:
            await asyncio.sleep(LOOK_S)
            for step in (self._tell_refused, self._drop_overdue, self.bound_memory):
                try:
                    step()
                except Exception:
                    logger.exception("connections could not be looked at")

    def bound_memory(self) -> None:
        """Drop those whose messages are the largest, where all together hold too much. Never raises what one of them
        does: it may be asked for by another one."""
        for one in self._too_large():
            logger.info("a connection is dropped: messages hold too much memory")
            self.remove(one)
            try:
                one.give_up()
            except Exception:
                logger.exception("a connection could not be given up in order")
                one.transport.abort()

    def _tell_refused(self) -> None:
        refused, self._refused = self._refused, Counter()
        for why, times in refused.items():
            logger.info("%d requests were refused: %s", times, why)
        if refused:
            self.on_refused(refused.total())

    def _drop_overdue(self) -> None:
        now = time.monotonic()
        for one in [*self.open]:
            try:
                reason = one.overdue(now)
            except Exception:
                logger.exception("a connection could not be looked at")
                reason = "nobody knows what it does"
            if reason:
                self.drop(one, reason)

    def _too_large(self) -> list[Connection]:
        """Those whose messages are the largest, until the rest is within the bound."""
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
        self.remove(one)
        one.transport.abort()


class GuardedHttp(LateReader, HttpToolsProtocol):
    """An HTTP connection."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._guard = connections
        self._waiting_since = 0.0
        # Since when it is refused, and what came since.
        self._refused_at, self._unread = 0.0, 0
        # Bytes of a head, or of what stands behind a body, that is not complete.
        self._headed = 0
        self._arrival: Arrival | None = None
        # Before anything is one, which blank lines are not.
        self.url, self.headers = b"", []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waiting_since = time.monotonic()
        if self._guard.full:
            transport.write(FULL)
            transport.close()
            return
        self._guard.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.remove(self)
        self._no_arrival()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused_at:
            self._unread += len(data)
            if self._unread > LINGER_BYTES:
                self.transport.abort()
        # Refused at once, it may have sent its request all the same.
        elif not self.transport.is_closing():
            self._headed += len(data)
            super().data_received(data)
            if self._headed > heads.MOST_BYTES and not self._is_over():
                self._refuse_or_drop(heads.too_large(self.url, self.headers) or heads.LARGE)

    def handle_websocket_upgrade(self) -> None:
        # The parser tells of an upgrade behind what was refused as well.
        if self._is_over():
            return
        self._no_arrival()
        self._guard.remove(self)
        super().handle_websocket_upgrade()

    def on_headers_complete(self) -> None:
        self._headed = 0
        if self._is_over():
            return
        if len(self.pipeline) >= MOST_PIPELINED:
            self._guard.drop(self, "it asks and asks before it is answered")
            return
        method = self.parser.get_method()
        upgrades = self.parser.should_upgrade() and self._should_upgrade()
        if (answer := self._refusal(method, upgrades=upgrades)) is not None:
            self._refuse_or_drop(answer)
            return
        # One that upgrades has no answer of ours, by which it would be over.
        if method == b"POST" and self._is_idle and not upgrades:
            self._arrival = self.scope[ARRIVAL] = self._guard.arrivals.new()  # type: ignore[literal-required]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._headed = 0
        if not self._is_over():
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._headed = 0
        if self._is_over():
            return
        if self._arrival is not None and not self.pipeline:
            self._arrival.complete()
        super().on_message_complete()

    @property
    def _is_idle(self) -> bool:
        """Whether nothing waits for an answer."""
        return self.cycle is None or self.cycle.response_complete

    def _is_over(self) -> bool:
        return bool(self._refused_at) or self.transport.is_closing()

    def _refusal(self, method: bytes, *, upgrades: bool) -> bytes | None:
        """What a request is told at once whose head is here, or None."""
        if (answer := heads.too_large(self.url, self.headers)) is not None:
            return answer
        if upgrades:
            if not self._is_idle:
                # Whoever works on the request before would not hear that its client has left.
                return heads.NOT_UNDERSTOOD
            if (answer := heads.no_socket(method, self.headers)) is not None:
                return answer
            why = self._guard.no_sockets()
        else:
            why = self._guard.crowded() if method == b"POST" and self._is_idle and self._is_plain() else None
        return None if why is None else self._guard.answer(why)

    def _is_plain(self) -> bool:
        """Whether nobody has to be told more than that there is no place: a page of a browser is told by headers that
        it may read the answer."""
        return all(name != b"origin" for name, _ in self.headers)

    def _no_arrival(self) -> None:
        """What was about to find its place is answered, or gone."""
        if self._arrival is not None:
            self._arrival.over()
            self._arrival = None

    def _refuse_or_drop(self, answer: bytes) -> None:
        if self._is_idle:
            self._refuse(answer)
        else:
            # It would stand in the place of the answer that is waited for.
            self._guard.drop(self, "what it sends behind a request is refused")

    def _refuse(self, answer: bytes) -> None:
        self._refused_at = time.monotonic()
        self.transport.write(answer)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def on_response_complete(self) -> None:
        self._waiting_since = time.monotonic()
        self._no_arrival()
        super().on_response_complete()

    def overdue(self, now: float) -> str | None:
        if self._refused_at:
            return "it does not end" if now - self._refused_at > LINGER_S else None
        if self.is_late(now, self._guard.reader_s):
            return "its client does not read the answer"
        if self._is_idle and now - self._waiting_since > self._guard.header_s:
            return "no request came"
        return None

    def held(self) -> int:
        return 0

    def give_up(self) -> None:
        self.transport.abort()
