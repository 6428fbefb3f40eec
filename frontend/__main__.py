"""python -m frontend: serve until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import sys

import uvicorn
from pydantic import ValidationError

from frontend.app import create_app
from frontend.backend import Backend
from frontend.settings import Settings


async def serve(settings: Settings) -> int:
    """Run the server; returns the process's exit code."""
    app = create_app(settings)
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, log_level=settings.log_level, access_log=False, lifespan="on"
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started and not running.done():
        await asyncio.sleep(0.01)
    if running.done():
        return 1
    hints = asyncio.create_task(_print_hints(app.state.backend, server))
    failed = asyncio.create_task(app.state.backend.wait_failed())
    await asyncio.wait([running, failed], return_when=asyncio.FIRST_COMPLETED)
    gave_up = failed.done() and not running.done()
    server.should_exit = True
    await running
    failed.cancel()
    hints.cancel()
    return 1 if gave_up else 0


async def _print_hints(backend: Backend, server: uvicorn.Server) -> None:
    """Once a request would be answered, say what to try."""
    while not await backend.is_ready():
        await asyncio.sleep(0.1)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    url = f"http://{host}:{port}"
    client = await backend.client(timeout_s=1.0)
    print(
        f"\nReady at {url}  (Triton's gRPC at {client.url}; Ctrl-C ends both). Try:\n"
        f"  curl {url}/v1/audio/transcriptions -F model=whisper-1 -F file=@perf/recordings/english.flac\n"
        f"  curl {url}/health\n"
        f"  open {url}/docs\n",
        flush=True,
    )


def main() -> int:
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            print(f"error: ASR_{str(problem['loc'][0]).upper()}: {problem['msg']}", file=sys.stderr)
        return 2
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        return asyncio.run(serve(settings))
    except KeyboardInterrupt:
        # uvicorn has shut down in order by now and passes the signal on.
        return 0


if __name__ == "__main__":
    sys.exit(main())
