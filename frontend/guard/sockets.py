"""Live connections in all, judged before one is accepted."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.guard.counts import SOCKETS, Count, alone
from frontend.guard.refusals import refuse
from frontend.guard.uploads import full

TOO_MANY = "too many live sessions"


class Sockets:
    """How many there are, and may be."""

    def __init__(self, most: int, open_: Count | None = None) -> None:
        self._most = most
        self.open = open_ or alone(SOCKETS)

    def full(self) -> str | None:
        """Why another one is not taken, or None."""
        return TOO_MANY if self.open.total >= self._most else None


class SocketGate:
    """Refuses (503, with Retry-After) a WebSocket that would be one too many."""

    def __init__(self, app: ASGIApp, sockets: Sockets) -> None:
        self._app = app
        self._sockets = sockets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        # The connection has looked before; what comes at the same time is told apart here.
        if (why := self._sockets.full()) is not None:
            await refuse(scope, receive, send, full(why))
            return
        self._sockets.open.add(1)
        try:
            await self._app(scope, receive, send)
        finally:
            self._sockets.open.add(-1)
