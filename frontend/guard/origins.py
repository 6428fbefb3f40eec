"""Which pages may ask from a browser: this server's own, and those of ASR_CORS_ORIGINS.

A browser keeps a foreign page from reading an answer, but not from sending a form, and where a WebSocket is opened from
nothing: any page that is looked at could open ws://127.0.0.1:8100. It says whose page asks, which no page can change.
Programs say nothing of the kind, and are not meant here.
"""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.errors import ApiError
from frontend.guard.hosts import Hosts, is_loopback
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
        self._hosts = Hosts(settings.hosts)
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
        return is_own(origin, headers.get("host", ""), self._hosts, loopback=self._loopback)


def is_own(origin: str, host: str, hosts: Hosts, *, loopback: bool) -> bool:
    """Whether a page of `origin` came from the server that the browser knows as `host`.

    A name of somebody else's may have been made to mean this server (DNS rebinding), whose page would be "own": so a
    page without TLS, which cannot be had that way, has to be of a name that only this server can have. hosts: the names
    of ASR_HOSTS. loopback: the server listens there alone.
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
    name = page.hostname or ""
    return page.scheme == "https" or name in hosts or (not hosts and not loopback and is_local_name(name))


def is_local_name(name: str) -> bool:
    """A machine's or a container's own: nobody can have one without a dot from the registries of the Internet."""
    return "." not in name
