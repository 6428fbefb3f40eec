"""Bounds on what a client may send and how slowly, kept before anything is stored."""

from __future__ import annotations

import time

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontend.errors import ApiError
from frontend.guard.refusals import refuse


class BodyLimit:
    """Refuses bodies larger than `max_bytes` with 413, by their announced length at once, else while they arrive; and
    those that do not come on, or come too slowly, with 408."""

    def __init__(self, app: ASGIApp, max_bytes: int, idle_s: float, bytes_per_s: float) -> None:
        """idle_s: without a byte; as long may pass before bytes_per_s, the slowest on average, is asked for."""
        self._app = app
        self._max_bytes = max_bytes
        self._idle_s = idle_s
        self._bytes_per_s = bytes_per_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if announced_bytes(scope) > self._max_bytes:
            await refuse(scope, receive, send, self._too_large())
            return
        received = 0
        # Where the slowest pace is counted from: idle_s ago or more, so that nobody lives on what came fast before.
        since, before = time.monotonic(), 0
        more = True

        async def counted() -> Message:
            nonlocal received, more, since, before
            if not more:
                # Whoever waits now waits for the client to leave.
                return await receive()
            try:
                with anyio.fail_after(self._idle_s):
                    message = await receive()
            except TimeoutError:
                raise self._too_slow() from None
            more = message["type"] == "http.request" and message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise self._too_large()
            seconds = time.monotonic() - since
            if more and seconds > self._idle_s:
                if received - before < seconds * self._bytes_per_s:
                    raise self._too_slow()
                since, before = time.monotonic(), received
            return message

        await self._app(scope, counted, send)

    def _too_large(self) -> ApiError:
        return ApiError(413, f"the request is larger than {self._max_bytes / 1e6:.0f} MB")

    def _too_slow(self) -> ApiError:
        message = (
            f"the request came too slowly: no byte for {self._idle_s:g} s, or fewer than "
            f"{self._bytes_per_s / 1000:g} kB a second"
        )
        return ApiError(408, message, close=True)


def announced_bytes(scope: Scope) -> int:
    """Content-Length; 0 where there is none, or one that is no number."""
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(length) if length.isdigit() and len(length) < 20 else 0
