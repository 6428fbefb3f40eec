"""The Triton behind the frontend: embedded and supervised, or somewhere else by address."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

import anyio

from frontend.settings import Settings
from frontend.triton_client import TritonClient, TritonUnavailable
from frontend.triton_process import EmbeddedTriton, TritonError

logger = logging.getLogger(__name__)

MODEL = "asr"
RESTART_DELAY_S = 1.0


class Backend:
    """Owns the connection, and the child process where Triton is embedded. A child that dies is started again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: TritonClient | None = None
        self._ready = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self.failure: str | None = None
        self.served_model_name = self._name()

    async def start(self) -> None:
        """Begin; returns at once. `client()` waits for the result."""
        if self._settings.triton_url is not None:
            self._client = TritonClient(self._settings.triton_url)
            self._ready.set()
        else:
            self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        if self._client is not None:
            await self._client.close()

    async def client(self, timeout_s: float) -> TritonClient:
        """The connection, once Triton is there; TritonUnavailable where it is not in time."""
        try:
            with anyio.fail_after(timeout_s):
                await self._ready.wait()
        except TimeoutError:
            raise TritonUnavailable(self.failure or "it is still starting") from None
        assert self._client is not None
        return self._client

    async def is_ready(self) -> bool:
        return self._ready.is_set() and self._client is not None and await self._client.is_ready(MODEL)

    async def wait_failed(self) -> None:
        """Return when the embedded Triton could not be started at all."""
        if self._supervisor is None:
            await asyncio.Event().wait()
        else:
            await asyncio.wait([self._supervisor])

    def _name(self) -> str:
        """The served model's name: the setting, or what the exported checkpoint is called."""
        if self._settings.served_model_name:
            return self._settings.served_model_name
        path = self._settings.model_repository / "decoder" / "1" / "checkpoint" / "export.json"
        if self._settings.triton_url is None and path.is_file():
            return str(json.loads(path.read_text(encoding="utf-8"))["name"])
        return "qwen3-asr"

    async def _supervise(self) -> None:
        started_once = False
        while True:
            triton = EmbeddedTriton(self._settings)
            try:
                await triton.start()
                started_once = True
                # What was loaded just now may have been exported since the last start.
                self.failure, self.served_model_name = None, self._name()
                self._client = TritonClient(triton.url)
                self._ready.set()
                logger.info("Triton is ready at %s (pid %s, log %s)", triton.url, triton.pid, triton.log_path)
                while triton.is_running():
                    await asyncio.sleep(0.2)
                self.failure = f"the embedded Triton ended unexpectedly (log: {triton.log_path})"
            except TritonError as error:
                self.failure = str(error)
                if not started_once:
                    # Nothing will change by itself: let the process end with the reason.
                    logger.error("%s", error)
                    return
            finally:
                self._ready.clear()
                if self._client is not None:
                    await self._client.close()
                await triton.stop()
            logger.error("%s; it is started again", self.failure)
            await asyncio.sleep(RESTART_DELAY_S)
