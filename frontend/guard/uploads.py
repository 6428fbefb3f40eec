"""Uploads in all: how many are sent and worked on at a time, and how many bytes of them lie on the disk."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontend.errors import ApiError
from frontend.guard.arrivals import ARRIVAL, Arrival, Arrivals
from frontend.guard.clients import client_of
from frontend.guard.counts import UPLOAD_BYTES, UPLOADS_SENDING, UPLOADS_WORKING, Counts
from frontend.guard.limits import announced_bytes
from frontend.guard.refusals import refuse

# Those that are still being sent hold no place of work, so that slow ones keep nobody from it. There are more of them.
SENDING = 4
# Bytes of the disk that stay free. Below as many an upload is kept in memory.
SPARE_BYTES = 64 * 2**20
IN_MEMORY_BYTES = 2**20


WORKED_ON, BEING_SENT = "too many uploads are worked on", "too many uploads are being sent"
NO_BYTES = "the uploads of now fill the disk"


def full(why: str) -> ApiError:
    return ApiError(503, f"{why}: try again soon", code="server_overloaded")


class Places:
    """The places there are. A client (its key, or its address) may have no more than `share` of those for sending, and
    of the bytes, so that one that sends slowly and much leaves the rest to others; its first upload it may have."""

    def __init__(self, most: int, most_bytes: int, share: float = 1.0, counts: Counts | None = None) -> None:
        """most: worked on at a time; most_bytes: of bodies, from their arrival until they are answered. share: of a
        client of this process."""
        counts = counts or Counts()
        self._most = most
        self._most_bytes = most_bytes
        self._share = share
        self.sending: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        # Of all clients, and all processes.
        self.working = counts.count(UPLOADS_WORKING)
        # Those of this process that are about to be worked on.
        self.arrivals = Arrivals()
        self.num_sending, self.num_bytes = counts.count(UPLOADS_SENDING), counts.count(UPLOAD_BYTES)

    def crowded(self) -> str | None:
        """Why nothing that begins now is taken of anybody, without a look at who asks and for what."""
        # What arrives may still be refused for its own sake. While half of the places are free, as many may arrive as
        # may be sent, so that a flood without keys takes no place from others.
        is_busy = 2 * self.working.total >= self._most
        spare = 0 if is_busy else (SENDING - 1) * self._most
        return self._crowded(max(0, self.arrivals.count - spare))

    def _crowded(self, before: int) -> str | None:
        """before: uploads that get their place first."""
        if self.working.total + before >= self._most:
            return WORKED_ON
        return BEING_SENT if self.num_sending.total >= SENDING * self._most else None

    def refusal(self, client: str, announced: int) -> ApiError | None:
        """Why an upload of so many bytes is not taken; 0: nobody knows yet."""
        if (crowded := self._crowded(0)) is not None:
            return full(crowded)
        if self.sending[client] + 1 > max(1.0, self._share * SENDING * self._most):
            return ApiError(429, "too many of your uploads are being sent: finish some", code="rate_limit_exceeded")
        own = self.bytes[client]
        if self.num_bytes.total + announced > self._most_bytes or (
            own and own + announced > self._share * self._most_bytes
        ):
            return full(NO_BYTES)
        if announced > IN_MEMORY_BYTES and announced + SPARE_BYTES > shutil.disk_usage(tempfile.gettempdir()).free:
            return ApiError(507, "the disk has no place for this upload: try again later")
        return None

    def begin(self, client: str) -> None:
        self.sending[client] += 1
        self.num_sending.add(1)

    def take(self, client: str, size: int, before: int) -> None:
        """So many more bytes of an upload that had `before`. Raises ApiError where there is no room for them."""
        others = self.bytes[client] - before
        self.bytes[client] += size
        self.num_bytes.add(size)
        if self.num_bytes.total > self._most_bytes or (others and self.bytes[client] > self._share * self._most_bytes):
            raise full(NO_BYTES)

    def sent(self, client: str) -> None:
        """An upload is there, and wants to be worked on. Raises ApiError where it cannot be."""
        if self.working.total >= self._most:
            raise full(WORKED_ON)
        self.working.add(1)
        self._no_more(self.sending, client, 1)
        self.num_sending.add(-1)

    def end(self, client: str, received: int, *, worked_on: bool) -> None:
        """An upload is answered, or given up."""
        if worked_on:
            self.working.add(-1)
        else:
            self._no_more(self.sending, client, 1)
            self.num_sending.add(-1)
        self._no_more(self.bytes, client, received)
        self.num_bytes.add(-received)

    @staticmethod
    def _no_more(counts: Counter[str], client: str, less: int) -> None:
        """Whoever has nothing is not kept: clients come and go for years."""
        counts[client] -= less
        if counts[client] <= 0:
            del counts[client]


class UploadGate:
    """Refuses (503, with Retry-After) what finds no place, before its body is read wherever that shows in time."""

    def __init__(self, app: ASGIApp, places: Places) -> None:
        self._app = app
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        places, client = self._places, client_of(scope)
        if (refusal := places.refusal(client, announced_bytes(scope))) is not None:
            await refuse(scope, receive, send, refusal)
            return
        received = 0
        is_sent = False
        arrival: Arrival | None = scope.get(ARRIVAL)

        async def counted() -> Message:
            nonlocal received, is_sent
            message = await receive()
            size = len(message.get("body", b""))
            received += size
            places.take(client, size, received - size)
            if not is_sent and not message.get("more_body", False):
                if arrival is not None:
                    arrival.over()
                places.sent(client)
                is_sent = True
            return message

        places.begin(client)
        try:
            await self._app(scope, counted, send)
        finally:
            places.end(client, received, worked_on=is_sent)
