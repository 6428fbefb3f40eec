"""Live connections in all, judged before one is accepted."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.errors import ApiError
from frontend.guard.counts import SOCKETS, Count, alone
from frontend.guard.refusals import refuse


class SocketGate:
    """Refuses (503, with Retry-After) a WebSocket that would be one too many."""

    def __init__(self, app: ASGIApp, most: int, open_: Count | None = None) -> None:
        self._app = app
        self._most = most
        self._open = open_ or alone(SOCKETS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        if self._open.total >= self._most:
            message = "too many live sessions: try again soon"
            await refuse(scope, receive, send, ApiError(503, message, code="server_overloaded"))
            return
        self._open.add(1)
        try:
            await self._app(scope, receive, send)
        finally:
            self._open.add(-1)
