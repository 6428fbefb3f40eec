"""What stands before a request's body: how large it may be, and which of it may become a WebSocket."""

from __future__ import annotations

from collections.abc import Sequence

from frontend.errors import ApiError
from frontend.guard.refusals import as_bytes

# Of the address and all headers; settings may stand in the address, where a Chinese character has nine.
MOST_BYTES = 64 * 2**10
# As many as the library of WebSockets takes.
MOST_HEADERS = 128

LONG_ADDRESS = as_bytes(ApiError(414, f"the address is longer than {MOST_BYTES // 2**10} KiB"))
LARGE = as_bytes(ApiError(431, f"the headers are more than {MOST_HEADERS}, or than {MOST_BYTES // 2**10} KiB"))
NOT_BY_GET = as_bytes(ApiError(405, "a WebSocket is asked for with GET"), {"Allow": "GET"})
WITH_BODY = as_bytes(ApiError(400, "what is to become a WebSocket has no body"))
NOT_UNDERSTOOD = as_bytes(ApiError(400, "this is no request for a WebSocket"))


def too_large(address: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """What a request is told whose address and headers are more than there may be, or None."""
    if len(address) > MOST_BYTES:
        return LONG_ADDRESS
    size = len(address) + sum([len(name) + len(value) + 4 for name, value in headers])
    return LARGE if size > MOST_BYTES or len(headers) > MOST_HEADERS else None


def no_socket(method: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """What a request is told that wants to become a WebSocket and never can, or None."""
    if method != b"GET":
        return NOT_BY_GET
    for name, value in headers:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0"):
            return WITH_BODY
    return None
