"""A Triton that heals itself: started here, its models watched, and ended where it has to be started anew.

python -m frontend.triton.supervisor tritonserver OPTION…

The container's main process, so that whatever speaks to it, gRPC clients alone among them, finds its models well. Its
exit status is the server's, or 1 where the server answers nothing, or keeps a model that does not come back however
often it is loaded again (an engine in the server's own process, a GPU that has failed): who restarts containers does
the rest. `python -m frontend.triton.status` says beside it whether it finds all well, which Triton does not know.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys

from frontend.observe import logs
from frontend.settings import Settings
from frontend.triton import access
from frontend.triton.client import TritonClient, TritonUnavailable
from frontend.triton.healing import ServerLost
from frontend.triton.launched import Tether
from frontend.triton.pace import Pace
from frontend.triton.status import Status
from frontend.triton.watcher import Watcher
from frontend.triton.watching import trouble_of

logger = logging.getLogger(__name__)

# Of Triton's own default port.
URL = "127.0.0.1:8001"
LOAD = "--load-model="
POLL_S = 0.2
# What Triton waits for at its end (--exit-timeout-secs), and a little more.
STOP_S = 65.0
GIVEN_UP = 1


async def supervise(settings: Settings, command: list[str]) -> int:
    """Until the server ends, is given up, or SIGTERM comes, which it is told. Returns the exit status."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tether = Tether()
    server = await asyncio.create_subprocess_exec(
        *tether.command(STOP_S, command), pass_fds=tether.inherited, start_new_session=True
    )
    tether.begun()
    ended = asyncio.create_task(server.wait())
    watching = asyncio.create_task(_watch(settings, command, server.pid))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([ended, watching, stopped], return_when=asyncio.FIRST_COMPLETED)
        if watching.done() and not ended.done():
            # It would not hear a request to stop.
            logger.error("%s; the server has to be started anew, and is killed", watching.result())
            server.kill()
            await ended
            return GIVEN_UP
        # What goes from now on is meant to go.
        await _cancelled(watching)
        if not ended.done():
            server.terminate()
            await asyncio.wait([ended], timeout=STOP_S)
        if not ended.done():
            logger.warning("the server did not stop in %.0f s and is killed", STOP_S)
            server.kill()
        status = await ended
        # As a shell has it, of one that a signal has ended.
        return status if status >= 0 else 128 - status
    finally:
        await _cancelled(watching, stopped)
        # Processes of models, and the guard: none may outlive the server.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        await ended
        tether.close()


async def _watch(settings: Settings, command: list[str], pid: int) -> str:
    """Heal what is lost of the server's models once they are there. Returns why the server is to be given up."""
    client = access.client_of(settings, settings.triton_url or URL)
    models = tuple(word.removeprefix(LOAD) for word in command if word.startswith(LOAD))
    watcher = Watcher(client, models, Pace.of(settings, processes_are_seen=True), owned=True, server=lambda: pid)
    try:
        # It listens when its models are loaded, however long that takes, and ends by itself where they cannot be.
        while not await _listens(client):
            await asyncio.sleep(POLL_S)
        logger.info("watching the models of process %d", pid)
        status = Status(settings.cache_dir)
        await watcher.run(lambda: status.write(trouble_of(watcher)))
    except ServerLost as error:
        return str(error)
    finally:
        await client.close()
    raise AssertionError("a watcher does not end by itself")


async def _listens(client: TritonClient) -> bool:
    with contextlib.suppress(TritonUnavailable):
        await client.server_metadata()
        return True
    return False


async def _cancelled(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main(arguments: list[str]) -> int:
    settings = Settings()
    program = shutil.which(arguments[0]) if arguments else None
    if program is None:
        print("usage: python -m frontend.triton.supervisor tritonserver OPTION…", file=sys.stderr)
        return 2
    logs.install(settings.log_level, as_json=settings.log_json)
    if why := access.trouble(settings):
        print(f"error: {why}", file=sys.stderr)
        return 2
    return asyncio.run(supervise(settings, [program, *arguments[1:]]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
