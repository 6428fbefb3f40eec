"""X-Request-ID goes into logs, here and at Triton: a short word of visible ASCII, or the request is refused."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.errors import ApiError
from frontend.guard.refusals import refuse
from frontend.observe.request_ids import MAX_CHARACTERS, NAME


class RequestNames:
    """Refuses a name (400) that is none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            names = [value for key, value in scope["headers"] if key == b"x-request-id" and value]
            if len(names) > 1 or not all(NAME.fullmatch(name) for name in names):
                message = f"X-Request-ID must be 1 to {MAX_CHARACTERS} visible ASCII characters without spaces"
                await refuse(scope, receive, send, ApiError(400, message, param="X-Request-ID"))
                return
        await self._app(scope, receive, send)
