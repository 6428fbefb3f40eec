"""The watcher as a process of its own: python -m frontend.triton.watcher [--healthy]."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys

import grpc

from frontend.observe import logs
from frontend.settings import Settings
from frontend.triton import access
from frontend.triton.healing import ServerLost
from frontend.triton.pace import Pace
from frontend.triton.status import Status, tell
from frontend.triton.watcher import Watcher

logger = logging.getLogger(__name__)


def trouble_of(watcher: Watcher) -> str:
    """What keeps a watcher from its work, or the models from theirs; "" where all is well."""
    return watcher.forbidden or ", ".join(f"{name}: {why}" for name, why in watcher.unhealthy.items())


async def watch(settings: Settings) -> int:
    """Until SIGTERM; a server that comes and goes is waited for."""
    assert settings.triton_url is not None
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = access.client_of(settings, settings.triton_url)
    watcher = Watcher(client, pace=Pace.of(settings, processes_are_seen=False))
    status = Status(settings.cache_dir)

    async def forever() -> None:
        while True:
            with contextlib.suppress(ServerLost, grpc.aio.AioRpcError):
                await watcher.run(lambda: status.write(trouble_of(watcher)))

    logger.info("watching the models of %s", settings.triton_url)
    running = asyncio.create_task(forever())
    await asyncio.wait([running, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await client.close()
    return 0


def main(arguments: list[str]) -> int:
    """Watch; or, with --healthy, say whether the one that watches finds everything well (exit status 0)."""
    settings = Settings()
    if arguments == ["--healthy"]:
        return tell(settings.cache_dir)
    if arguments:
        print("usage: python -m frontend.triton.watcher [--healthy]", file=sys.stderr)
        return 2
    logs.install(settings.log_level, as_json=settings.log_json)
    if settings.triton_url is None:
        print("error: ASR_TRITON_URL names no Triton; the embedded one is watched by its frontend", file=sys.stderr)
        return 2
    if why := access.trouble(settings):
        print(f"error: {why}", file=sys.stderr)
        return 2
    return asyncio.run(watch(settings))
