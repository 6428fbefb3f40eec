"""Which pages may ask from a browser: this server's own, and those of ASR_CORS_ORIGINS.

A browser keeps a foreign page from reading an answer, but not from sending a form, and where a WebSocket is opened from
nothing: any page that is looked at could open ws://127.0.0.1:8100. It says whose page asks, which no page can change.
Programs say nothing of the kind, and are not meant here.
"""

from __future__ import annotations

import ipaddress
import logging
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.errors import ApiError
from frontend.guard.refusals import refuse
from frontend.settings import Settings

logger = logging.getLogger(__name__)

DEFAULT_PORTS = {"http": 80, "https": 443}
READING = ("GET", "HEAD", "OPTIONS")
MAX_SHOWN = 200


class OriginGate:
    """Refuses (403) sockets, and requests that do something, of pages that are neither this server's nor allowed."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._allowed = {origin.rstrip("/").lower() for origin in settings.cors_origins}
        self._loopback = is_loopback(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        acts = scope["type"] == "websocket" or (scope["type"] == "http" and scope["method"] not in READING)
        if not acts or self._is_welcome(headers := Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        shown = headers["origin"][:MAX_SHOWN]
        logger.warning("a page of %s is refused: it is not in ASR_CORS_ORIGINS", ascii(shown))
        await refuse(scope, receive, send, ApiError(403, f"pages of {shown} may not ask: ASR_CORS_ORIGINS"))

    def _is_welcome(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None or "*" in self._allowed or origin.lower() in self._allowed:
            return True
        return is_own(origin, headers.get("host", ""), loopback=self._loopback)


def is_own(origin: str, host: str, *, loopback: bool) -> bool:
    """Whether a page of `origin` came from the server that the browser knows as `host`.

    loopback: the server listens there alone. Then a name of somebody else's may have been made to mean 127.0.0.1 (DNS
    rebinding), whose page would be "own"; a proxy with TLS cannot be had that way.
    """
    try:
        page = urlsplit(origin)
        default = DEFAULT_PORTS.get(page.scheme)
        asked = urlsplit(f"//{host}")
        same = bool(page.hostname) and page.hostname == asked.hostname
        if default is None or not same or (page.port or default) != (asked.port or default):
            return False
    except ValueError:
        return False
    return not loopback or page.scheme == "https" or is_loopback(page.hostname or "")


def is_loopback(host: str) -> bool:
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
