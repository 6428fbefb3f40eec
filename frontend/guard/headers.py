"""What browsers are told of every answer: take it for what it says it is, show it in no frame, tell nobody of it."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NO_FRAMES = "frame-ancestors 'none'"
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


class SafeAnswers:
    """Adds the headers; a page's own Content-Security-Policy stays."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in (*ALWAYS.items(), ("Content-Security-Policy", NO_FRAMES)):
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, told)
