"""The watcher as a process of its own: python -m frontend.triton.watcher [--healthy]."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
import time
from pathlib import Path

import grpc

from frontend.observe import logs
from frontend.settings import Settings
from frontend.triton import access
from frontend.triton.healing import ServerLost
from frontend.triton.pace import Pace
from frontend.triton.watcher import Watcher

logger = logging.getLogger(__name__)

# A round takes seconds at most, but for a model that is loaded meanwhile.
QUIET_S = 20.0


class Status:
    """What the watcher found in its last round, in a file, for `--healthy`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "watcher.json"

    def write(self, watcher: Watcher) -> None:
        """Note that a round has ended, and what keeps it from its work."""
        trouble = watcher.forbidden or ", ".join(f"{name}: {why}" for name, why in watcher.unhealthy.items())
        # The clock of the machine, which is every process's, and which nobody sets.
        text = json.dumps({"at": time.monotonic(), "trouble": trouble})
        fresh = self._path.with_suffix(".fresh")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(self._path)
        except OSError as error:
            logger.warning("the watcher's state cannot be written: %s", error)

    def trouble(self) -> str:
        """Why the watcher does not do its work, or the models not theirs; "" where all is well."""
        try:
            status = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            return f"no watcher has written its state: {error}"
        quiet_s = time.monotonic() - status["at"]
        return f"the watcher has not looked for {quiet_s:.0f} s" if quiet_s > QUIET_S else str(status["trouble"])


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
                await watcher.run(lambda: status.write(watcher))

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
        trouble = Status(settings.cache_dir).trouble()
        print(trouble or "healthy")
        return 1 if trouble else 0
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
