"""Refusing before anything is read: the same error body, status and Retry-After for HTTP and for WebSockets."""

from __future__ import annotations

from starlette.types import Message, Receive, Scope, Send

from frontend.errors import ApiError, error_response

POLICY_VIOLATION = 1008


async def refuse(scope: Scope, receive: Receive, send: Send, error: ApiError) -> None:
    """Answer an HTTP request, or a WebSocket that was not accepted yet, with an error."""
    if scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
        await error_response(error)(scope, receive, send)
        return
    # Before it is accepted, closing a WebSocket refuses the connection.
    message: Message = {"type": "websocket.close", "code": POLICY_VIOLATION, "reason": str(error)}
    await send(message)
