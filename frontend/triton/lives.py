"""How the Tritons behind the frontend come and go: one that is started here, one elsewhere, several elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from frontend.settings import Settings
from frontend.triton.addresses import Address, parsed
from frontend.triton.client import TritonRefused, TritonUnavailable
from frontend.triton.lookups import EVERY_S, Lookup
from frontend.triton.process import EmbeddedTriton
from frontend.triton.wheel import TritonError

if TYPE_CHECKING:
    from frontend.triton.backend import Backend

logger = logging.getLogger(__name__)

POLL_S = 0.1
# So long the first request waits for servers that have not been looked at yet.
FIRST_LOOK_S = 2.0

Life = Callable[["Backend"], Awaitable[None]]


def of(settings: Settings) -> Life:
    """What makes Triton ready, returns when it is to be given up, and raises TritonError when it is lost."""
    if settings.triton_urls:
        return several
    if settings.triton_url is None:
        return embedded
    return elsewhere if settings.load == "start" and not settings.idle_timeout else on_demand


def trouble(settings: Settings) -> str:
    """Why the settings of one Triton and of several do not go together; "" where they do."""
    if not settings.triton_urls:
        return ""
    if settings.triton_url is not None:
        return "ASR_TRITON_URL and ASR_TRITON_URLS: one of them is enough"
    if settings.load != "start" or settings.idle_timeout:
        return "ASR_TRITON_URLS: several have their models loaded always; ASR_LOAD and ASR_IDLE_TIMEOUT are for one"
    return ""


async def embedded(backend: Backend) -> None:
    """A child process, watched and mended; ended where nobody works for a while."""
    settings = backend.settings
    triton = EmbeddedTriton(settings, backend.models)
    try:
        await triton.start()
        wanted = settings.triton_grpc_port
        if wanted not in (0, triton.grpc_port):
            logger.warning("port %s is taken: Triton's gRPC is at %s", wanted, triton.url)
        backend.metrics_url = triton.metrics_url
        # What was loaded just now may have been exported since the last start.
        backend.name_anew()
        server = backend.open(Address(triton.url), lambda: triton.control_key, lambda: triton.pid)
        backend.begin()
        logger.info("Triton is ready at %s (pid %s, log %s)", triton.url, triton.pid, triton.log_path)
        while triton.is_running():
            if backend.gives_up():
                logger.info("nobody works: Triton is ended")
                return
            if server.watching is not None and server.watching.done():
                triton.kill()
                raise TritonError(f"the embedded Triton does not answer any more (log: {triton.log_path})")
            await asyncio.sleep(POLL_S)
        raise TritonError(f"the embedded Triton ended unexpectedly (log: {triton.log_path})")
    finally:
        backend.metrics_url = None
        await backend.shut()
        await triton.stop()


async def elsewhere(backend: Backend) -> None:
    """A Triton by address that is always wanted: what of it is lost is loaded again, where that is allowed."""
    assert backend.settings.triton_url is not None
    backend.open(Address(backend.settings.triton_url))
    backend.begin()
    try:
        await asyncio.Event().wait()
    finally:
        await backend.shut()


async def on_demand(backend: Backend) -> None:
    """A Triton by address whose models are loaded for a request, and unloaded where nobody works for a while."""
    settings = backend.settings
    assert settings.triton_url is not None
    client = backend.connect(Address(settings.triton_url))
    try:
        for model in backend.models:
            await client.load(model, settings.triton_start_timeout_s)
        server = backend.open(Address(settings.triton_url))
        backend.begin()
        while not backend.gives_up():
            await asyncio.sleep(POLL_S)
        await server.look_away()
        for model in backend.models:
            await client.unload(model)
        logger.info("nobody works: the models are unloaded")
    except (TritonUnavailable, TritonRefused) as error:
        raise TritonError(f"the models of {settings.triton_url} cannot be managed: {error}") from error
    finally:
        await backend.shut()
        await client.close()


async def several(backend: Backend) -> None:
    """Those that the setting names, as names and files change."""
    lookup = Lookup(parsed(backend.settings.triton_urls))
    fleet = backend.fleet
    tending = asyncio.create_task(fleet.tend())
    began = asyncio.get_running_loop().time()
    try:
        while True:
            for address in fleet.name(await lookup.look()):
                backend.open(address)
            if not backend.has_begun:
                # Whom nobody has looked at yet is not known to answer.
                waited_s = asyncio.get_running_loop().time() - began
                if len(fleet) and (fleet.is_well or waited_s > FIRST_LOOK_S):
                    backend.begin()
                else:
                    await asyncio.sleep(POLL_S)
                    continue
            await asyncio.sleep(EVERY_S)
            if tending.done():
                # Our own mistake; its traceback goes to the log.
                tending.result()
    finally:
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)
        await backend.shut()
