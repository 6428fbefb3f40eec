"""Uploads in all: how many are sent and worked on at a time, and how many bytes of them lie on the disk."""

from __future__ import annotations

import shutil
import tempfile

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontend.errors import ApiError
from frontend.guard.limits import announced_bytes
from frontend.guard.refusals import refuse

# Those that are still being sent hold no place of work, so that slow ones keep nobody from it. There are more of them.
SENDING = 4
# Bytes of the disk that stay free. Below as many an upload is kept in memory.
SPARE_BYTES = 64 * 2**20
IN_MEMORY_BYTES = 2**20


class UploadGate:
    """Refuses (503, with Retry-After) what finds no place, before its body is read wherever that shows in time."""

    def __init__(self, app: ASGIApp, most: int, most_bytes: int) -> None:
        """most: worked on at a time; most_bytes: of bodies, from their arrival until they are answered."""
        self._app = app
        self._most = most
        self._most_bytes = most_bytes
        self.sending = 0
        self.working = 0
        self.bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if (refusal := self._refusal(announced_bytes(scope))) is not None:
            await refuse(scope, receive, send, refusal)
            return
        received = 0
        is_sent = False

        async def counted() -> Message:
            nonlocal received, is_sent
            message = await receive()
            size = len(message.get("body", b""))
            received += size
            self.bytes += size
            if self.bytes > self._most_bytes:
                raise _full("the uploads of now fill the disk")
            if not is_sent and not message.get("more_body", False):
                if self.working >= self._most:
                    raise _full("too many uploads are worked on")
                is_sent = True
                self.sending -= 1
                self.working += 1
            return message

        self.sending += 1
        try:
            await self._app(scope, counted, send)
        finally:
            self.bytes -= received
            if is_sent:
                self.working -= 1
            else:
                self.sending -= 1

    def _refusal(self, announced: int) -> ApiError | None:
        if self.working >= self._most:
            return _full("too many uploads are worked on")
        if self.sending >= SENDING * self._most:
            return _full("too many uploads are being sent")
        if self.bytes + announced > self._most_bytes:
            return _full("the uploads of now fill the disk")
        if announced > IN_MEMORY_BYTES and announced + SPARE_BYTES > shutil.disk_usage(tempfile.gettempdir()).free:
            return ApiError(507, "the disk has no place for this upload: try again later")
        return None


def _full(why: str) -> ApiError:
    return ApiError(503, f"{why}: try again soon", code="server_overloaded")
