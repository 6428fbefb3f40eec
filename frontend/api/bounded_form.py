"""Forms of uploads: one file, and as many small fields as anybody needs."""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import FormData, Headers
from starlette.formparsers import MultiPartException, MultiPartParser, parse_options_header
from starlette.requests import ClientDisconnect

from frontend.errors import CLIENT_CLOSED_REQUEST, ApiError

MAX_FIELDS = 300
# Of all fields beside the file: the longest prompt, keywords and hotwords, in the widest characters, and some more.
MAX_FIELD_BYTES = 400_000
# Of references of known speakers, four of ten seconds, beside them.
MAX_REFERENCE_BYTES = 4 * 3_400_000
# Of all requests of this process, which hold them in memory.
MOST_HELD_BYTES = 64 * 2**20
REFERENCES = (b"known_speaker_references", b"known_speaker_references[]")
# Beside one file; a client that sends it twice under two names is told that the second one is not wanted.
MAX_FILES = 1
OVERLOADED = "server_overloaded"
CHARSETS = (b"utf-8", b"utf8", b"us-ascii", b"iso-8859-1")


class BoundedRoute(APIRoute):
    """A route that takes an upload; whatever reads its form gets it bounded."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            upload = UploadRequest(request.scope, request.receive, request._send)
            try:
                # Read before FastAPI would, who takes every error in it for the client's.
                await upload.form()
                return await handle(upload)
            finally:
                upload.let_go()

        return bounded


class UploadRequest(Request):
    """`form` reads a bounded one, once."""

    # Bytes of references: of this request, and of all that are not answered yet.
    held = 0
    held_by_all: ClassVar[int] = 0
    _bounded: FormData | None = None

    def form(self, **_: Any) -> Any:
        return self._read()

    async def _read(self) -> FormData:
        """Raises ApiError: 400 where it is no such form, 507 where the disk is full."""
        if self._bounded is None:
            content_type, options = parse_options_header(self.headers.get("content-type", ""))
            if content_type != b"multipart/form-data":
                raise ApiError(400, "send a form, multipart/form-data, with the sound as a file", param="file")
            if options.get(b"charset", CHARSETS[0]).lower() not in CHARSETS:
                raise ApiError(400, "the form must be in UTF-8")
            try:
                async with aclosing(self.stream()) as stream:
                    self._bounded = await _Parser(self.headers, stream, self.hold).parse()
            except MultiPartException as error:
                raise ApiError(400, error.message) from error
            except ClientDisconnect as error:
                # Nobody hears it; a traceback would say that something is wrong here.
                raise ApiError(CLIENT_CLOSED_REQUEST, "the client has left") from error
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
                raise ApiError(507, "the disk has no place for this upload: try again later") from error
        return self._bounded

    def hold(self, num_bytes: int) -> None:
        """Raises ApiError 503 where all requests together hold too much."""
        if UploadRequest.held_by_all + num_bytes > MOST_HELD_BYTES:
            raise ApiError(503, "too many references of speakers are being heard: try again soon", code=OVERLOADED)
        UploadRequest.held_by_all += num_bytes
        self.held += num_bytes

    def let_go(self) -> None:
        """What it held is answered."""
        UploadRequest.held_by_all -= self.held
        self.held = 0


class _Parser(MultiPartParser):
    """Bounds the fields all together as well."""

    def __init__(self, headers: Headers, stream: Any, hold: Callable[[int], None]) -> None:
        """hold: called with the bytes of references before they are kept."""
        super().__init__(headers, stream, max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=MAX_REFERENCE_BYTES)
        self._hold = hold
        self._field_bytes = self._reference_bytes = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current_part.file is None and self._current_part.field_name.encode() in REFERENCES:
            self._reference_bytes += end - start
            if self._reference_bytes > MAX_REFERENCE_BYTES:
                raise MultiPartException(f"the references have more than {MAX_REFERENCE_BYTES} bytes")
            self._hold(end - start)
        elif self._current_part.file is None:
            self._field_bytes += end - start
            if self._field_bytes > MAX_FIELD_BYTES:
                raise MultiPartException(f"the fields have more than {MAX_FIELD_BYTES} bytes")
        super().on_part_data(data, start, end)
