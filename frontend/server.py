"""The HTTP server: uvicorn with guarded connections, which ends in order."""

from __future__ import annotations

import asyncio
import functools
import logging
import resource
import socket
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from frontend.guard.connections import PING_S, Connections, GuardedHttp
from frontend.guard.counts import CONNECTIONS
from frontend.guard.drain import Drain
from frontend.guard.guarded_socket import GuardedSocket
from frontend.guard.handshakes import Handshake, server_context
from frontend.settings import Settings

logger = logging.getLogger(__name__)

# 15 MB of sound, which OpenAI allows in one event, in base64 and with what stands around it.
MOST_MESSAGE_BYTES = 21 * 2**20
# Files that are open beside connections and uploads.
SPARE_FILES = 100


class DrainingServer(uvicorn.Server):
    """At the first signal live sessions get their finals; then, or at the second one, the server ends."""

    def __init__(self, config: uvicorn.Config, timeout_s: float) -> None:
        super().__init__(config)
        self._timeout_s = timeout_s
        self._draining = False

    def _log_started_message(self, listeners: Any) -> None:
        """Which TLS it is uvicorn does not know."""
        logger.info("listening at %s", ", ".join("{}:{}".format(*one.getsockname()[:2]) for one in listeners))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        drain = self.config.app.state.drain if isinstance(self.config.app, FastAPI) else None
        if self._draining or drain is None or not drain.busy:
            super().handle_exit(sig, frame)
            return
        # A signal comes between any two steps of the loop, which may be asleep.
        loop = asyncio.get_running_loop()
        self._draining = True
        loop.call_soon_threadsafe(lambda: loop.create_task(self._drain(drain, sig, frame)))

    async def _drain(self, drain: Drain, sig: int, frame: FrameType | None) -> None:
        await drain.finish(self._timeout_s)
        super().handle_exit(sig, frame)


async def serve(
    app: FastAPI,
    settings: Settings,
    begun: Callable[[str], Awaitable[None]],
    sockets: list[socket.socket] | None = None,
) -> int:
    """Run the server; returns the process's exit code. begun: goes on beside it, given its address, once it listens.
    sockets: listen already; None: where the settings say."""
    count = app.state.counts.count(CONNECTIONS)
    most = _most_connections(settings)
    connections = Connections(most, settings.request_header_s, settings.slow_reader_s, count)
    connections.message_bytes["/ws/transcribe"] = int(settings.live_message_mb * 1e6)
    connections.crowded, connections.arrivals = app.state.places.crowded, app.state.places.arrivals
    connections.no_sockets = app.state.sockets.full
    connections.on_refused = app.state.metrics.refused
    # uvicorn makes a protocol by calling what stands there for its class.
    http: Any = functools.partial(GuardedHttp, connections)
    if settings.tls_certificate is not None:
        context = server_context(settings.tls_certificate, settings.tls_key)
        http = functools.partial(Handshake, connections, context)
    websocket: Any = functools.partial(GuardedSocket, connections)
    config = uvicorn.Config(
        app,
        http=http,
        ws=websocket,
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level,
        access_log=False,
        # Its records go where all others go.
        log_config=None,
        lifespan="on",
        # Audio does not get smaller, and each connection's compressor would hold its memory.
        ws_per_message_deflate=False,
        ws_max_size=MOST_MESSAGE_BYTES,
        ws_ping_interval=PING_S,
        # Half-open ones are noticed by the guard: a client that sends too fast has its pongs behind its sound.
        ws_ping_timeout=None,
        # Live sessions get their finals before the process ends.
        timeout_graceful_shutdown=int(settings.drain_timeout_s),
    )
    server = DrainingServer(config, settings.drain_timeout_s)
    running = asyncio.create_task(server.serve(sockets))
    while not server.started and not running.done():
        await asyncio.sleep(0.01)
    if running.done():
        return 1
    watching = asyncio.create_task(connections.watch())
    beside = asyncio.ensure_future(begun(address_of((sockets or server.servers[0].sockets)[0], settings)))
    failed = asyncio.create_task(app.state.backend.wait_failed())
    await asyncio.wait([running, failed, watching], return_when=asyncio.FIRST_COMPLETED)
    if watching.done():
        logger.error("connections are not watched any more: the server ends", exc_info=watching.exception())
    gave_up = not running.done()
    server.should_exit = True
    await running
    for task in (failed, beside, watching):
        task.cancel()
    return 1 if gave_up else 0


def _most_connections(settings: Settings) -> int:
    """As many as are allowed, of which this process may have so many files open: an upload has two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        wanted = 4 * settings.max_connections
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, max(soft, wanted))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(16, min(settings.max_connections, soft // 2 - SPARE_FILES))


def address_of(listening: Any, settings: Settings) -> str:
    """Where a socket that listens is to be asked."""
    host, port = listening.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls_certificate is not None else 'http'}://{name}:{port}"
