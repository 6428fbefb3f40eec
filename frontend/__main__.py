"""python -m frontend: serve until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import functools
import logging
import resource
import sys
from types import FrameType
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI
from pydantic import ValidationError

from frontend.app import create_app
from frontend.guard import tls
from frontend.guard.connections import PING_S, Connections, GuardedHttp, GuardedSocket
from frontend.guard.drain import Drain
from frontend.guard.handshakes import Handshake, server_context
from frontend.guard.keys import KeysError
from frontend.guard.tls import TlsError
from frontend.observe import logs
from frontend.settings import Settings
from frontend.triton.backend import Backend
from frontend.triton.control import NoControlKey, read_key
from frontend.triton.profiles import ProfileError, at_hand, check_exists, models_of
from frontend.triton.startup import decide

# 15 MB of sound, which OpenAI allows in one event, in base64 and with what stands around it.
MOST_MESSAGE_BYTES = 21 * 2**20
# Files that are open beside connections and uploads.
SPARE_FILES = 100
logger = logging.getLogger(__name__)


class DrainingServer(uvicorn.Server):
    """At the first signal live sessions get their finals; then, or at the second one, the server ends."""

    def __init__(self, config: uvicorn.Config, timeout_s: float) -> None:
        super().__init__(config)
        self._timeout_s = timeout_s
        self._draining = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        drain = self.config.app.state.drain if isinstance(self.config.app, FastAPI) else None
        if self._draining or drain is None or not drain.busy:
            super().handle_exit(sig, frame)
            return
        # A signal comes between any two steps of the loop, which may be asleep.
        loop = asyncio.get_running_loop()
        self._draining = True
        loop.call_soon_threadsafe(lambda: loop.create_task(self._drain(drain, sig, frame)))

    def _log_started_message(self, listeners: Any) -> None:
        """Which TLS it is uvicorn does not know."""
        logger.info("listening at %s", ", ".join("{}:{}".format(*one.getsockname()[:2]) for one in listeners))

    async def _drain(self, drain: Drain, sig: int, frame: FrameType | None) -> None:
        await drain.finish(self._timeout_s)
        super().handle_exit(sig, frame)


async def serve(app: FastAPI, settings: Settings) -> int:
    """Run the server; returns the process's exit code."""
    connections = Connections(_most_connections(settings), settings.request_header_s, settings.slow_reader_s)
    connections.message_bytes["/ws/transcribe"] = int(settings.live_message_mb * 1e6)
    connections.crowded = app.state.places.crowded
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
    running = asyncio.create_task(server.serve())
    while not server.started and not running.done():
        await asyncio.sleep(0.01)
    if running.done():
        return 1
    watching = asyncio.create_task(connections.watch())
    hints = asyncio.create_task(_print_hints(app.state.backend, server, settings))
    failed = asyncio.create_task(app.state.backend.wait_failed())
    await asyncio.wait([running, failed], return_when=asyncio.FIRST_COMPLETED)
    gave_up = failed.done() and not running.done()
    server.should_exit = True
    await running
    for task in (failed, hints, watching):
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


async def _print_hints(backend: Backend, server: uvicorn.Server, settings: Settings) -> None:
    """Once a request would be answered, say what to try."""
    while not backend.is_ready():
        await asyncio.sleep(0.1)
    client = backend.current
    address = f", Triton's gRPC at {client.url}" if client is not None else ""
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    url = f"{'http' if settings.tls_certificate is None else 'https'}://{host}:{port}"
    print(
        f"\n{backend.served_model_name} is ready at {url}{address}. Ctrl-C ends everything. Try:\n"
        f"  curl {url}/v1/audio/transcriptions -F model=whisper-1 -F file=@perf/recordings/english.flac\n"
        f"  curl {url}/health\n"
        f"  open {url}/ in a browser, or {url}/docs\n",
        flush=True,
    )


def planned(settings: Settings) -> Settings:
    """The settings with the profile that this machine is to serve, which is said in the first line of all.

    Raises ProfileError where the one that is named cannot be served.
    """
    if settings.triton_url is None:
        plan = decide(settings)
        print(plan.line, flush=True)
        return settings.model_copy(update={"model_config_name": plan.profile})
    if settings.profile is not None and at_hand(settings.model_repository):
        check_exists(settings.model_repository, settings.profile)
        models_of(settings.model_repository, settings.profile)
    return settings


def usage(arguments: list[str]) -> int:
    """What there is to set: by variables, as a container's settings are. Returns the exit code."""
    asked = arguments in (["--help"], ["-h"])
    print("usage: python -m frontend     all settings are variables:", file=sys.stdout if asked else sys.stderr)
    if asked:
        for name, field in Settings.model_fields.items():
            default = "" if field.default_factory is not None or field.default is None else f" [{field.default}]"
            print(f"  ASR_{name.upper()}{default}\n      {field.description}")
    return 0 if asked else 2


def main() -> int:
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            said = str(problem["msg"]).removeprefix("Value error, ")
            print(f"error: ASR_{str(problem['loc'][0]).upper()}: {said}", file=sys.stderr)
        return 2
    logs.install(settings.log_level, as_json=settings.log_json)
    try:
        settings = planned(settings)
        read_key(settings.triton_control_key_file)
        tls.check(settings)
        app = create_app(settings)
    except (ProfileError, KeysError, NoControlKey, TlsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        return uvloop.run(serve(app, settings))
    except KeyboardInterrupt:
        # uvicorn has shut down in order by now and passes the signal on.
        return 0


if __name__ == "__main__":
    sys.exit(usage(sys.argv[1:]) if sys.argv[1:] else main())
