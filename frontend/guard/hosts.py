"""The names that this server answers to: ASR_HOSTS.

A browser asks whatever a name means, and whoever owns a name can make it mean this server, for a page that was loaded
under the same name a moment before (DNS rebinding). Its requests carry that name, which no page can change.
"""

from __future__ import annotations

import ipaddress
import logging
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from frontend.errors import ApiError
from frontend.guard.refusals import refuse

logger = logging.getLogger(__name__)

MISDIRECTED = 421
MAX_SHOWN = 200


class Hosts:
    """Names, and `*.name` for all below one. Addresses and localhost are always among them: nobody owns them."""

    def __init__(self, names: list[str]) -> None:
        self._names = {_plain(name) for name in names}

    def __bool__(self) -> bool:
        """Whether any was named."""
        return bool(self._names)

    def __contains__(self, name: str) -> bool:
        name = _plain(name)
        if is_address(name) or is_loopback(name) or name in self._names or "*" in self._names:
            return True
        return any(f"*.{above}" in self._names for above in _above(name))


class HostGate:
    """Refuses (421) requests and sockets that are meant for another name, where the names are known."""

    def __init__(self, app: ASGIApp, names: list[str]) -> None:
        self._app = app
        self._hosts = Hosts(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._is_ours(host := Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send)
            return
        shown = host[:MAX_SHOWN]
        logger.warning("a request to %s is refused: it is not in ASR_HOSTS", ascii(shown))
        error = ApiError(MISDIRECTED, f"this server does not answer to {shown}: ASR_HOSTS")
        await refuse(scope, receive, send, error)

    def _is_ours(self, host: str) -> bool:
        # Programs of old say none; browsers always do.
        if not host:
            return True
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return name is not None and name in self._hosts


def is_loopback(host: str) -> bool:
    """Whether a name or an address means this machine alone, whatever a name server says."""
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _plain(name: str) -> str:
    return name.strip().lower().removesuffix(".")


def _above(name: str) -> list[str]:
    """a.b.c: b.c, c."""
    parts = name.split(".")
    return [".".join(parts[start:]) for start in range(1, len(parts))]
