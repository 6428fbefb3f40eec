"""Refusing before anything is read: the same error body, status and Retry-After for HTTP and for WebSockets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.types import Message, Receive, Scope, Send

from frontend.errors import ApiError, error_body, error_headers, error_response
from frontend.guard.headers import ALWAYS

POLICY_VIOLATION = 1008


async def refuse(scope: Scope, receive: Receive, send: Send, error: ApiError) -> None:
    """Answer an HTTP request, or a WebSocket that was not accepted yet, with an error."""
    if scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
        await error_response(error)(scope, receive, send)
        return
    # Before it is accepted, closing a WebSocket refuses the connection.
    message: Message = {"type": "websocket.close", "code": POLICY_VIOLATION, "reason": str(error)}
    await send(message)


def as_bytes(error: ApiError, more: Mapping[str, str] | None = None) -> bytes:
    """The same as a whole HTTP answer, the last one of its connection: for those who are refused by the thousand. more:
    headers."""
    body = json.dumps(error_body(error)).encode()
    headers = {
        **error_headers(error),
        **ALWAYS,
        **(more or {}),
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}"]
    lines += [f"{name.lower()}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
