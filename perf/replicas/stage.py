"""Several Tritons on loopback, a file that names them with their weights, and a frontend before them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from frontend.settings import Settings
from frontend.triton.process import EmbeddedTriton
from perf.service import Service, running_service

POLL_S = 0.05
PATIENCE_S = 90.0
# What the frontend says of a session that goes on at another server.
MOVED = "and goes on elsewhere"

Told = list[dict[str, Any]]


class Stage:
    """Servers are called by their numbers, from 0."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._named = folder / "servers"
        self.tritons = [EmbeddedTriton(self._settings(0)) for _ in range(count)]
        self.service: Service
        # Before the first of them alone.
        self.alone: Service

    @property
    def url(self) -> str:
        return self.service.url

    async def start(self) -> None:
        # All at once they would keep each other from an answer for longer than Triton waits for its models' processes.
        for triton in self.tritons:
            await triton.start()
        self.weigh(*[1] * len(self.tritons))

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Both frontends."""
        key, named = str(self._key), json.dumps([f"file://{self._named}"])
        with (
            running_service(
                ASR_TRITON_URLS=named,
                ASR_TRITON_CONTROL_KEY_FILE=key,
                ASR_PROCESSES="1",
                ASR_CACHE_DIR=str(self._folder / "several"),
            ) as self.service,
            running_service(
                ASR_TRITON_URL=self.tritons[0].url,
                ASR_TRITON_CONTROL_KEY_FILE=key,
                ASR_PROCESSES="1",
                ASR_CACHE_DIR=str(self._folder / "alone"),
            ) as self.alone,
        ):
            yield

    def kill(self, number: int) -> None:
        """The server and every process of its models."""
        pid = self.tritons[number].pid
        assert pid is not None
        os.killpg(pid, signal.SIGKILL)

    async def start_again(self, number: int) -> None:
        """At its port, as whoever looks after containers would."""
        before = self.tritons[number]
        await before.stop()
        self.tritons[number] = EmbeddedTriton(self._settings(before.grpc_port))
        await self.tritons[number].start()

    def weigh(self, *weights: float) -> None:
        """What the frontend is told of each; 0 drains one."""
        lines = [f"{one.url}={weight:g}" for one, weight in zip(self.tritons, weights, strict=True)]
        fresh = self._named.with_suffix(".fresh")
        fresh.write_text("\n".join(lines) + "\n")
        fresh.replace(self._named)

    async def servers(self) -> Told:
        """What /health says of each."""
        async with httpx.AsyncClient(base_url=self.url, timeout=10) as client:
            told = {one["url"]: one for one in (await client.get("/health")).json()["servers"]}
        return [told[triton.url] for triton in self.tritons]

    async def until(self, condition: Callable[[Told], bool]) -> float:
        """Seconds until health says so. Raises TimeoutError."""
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE_S):
            while not condition(await self.servers()):
                await asyncio.sleep(POLL_S)
        return time.monotonic() - began

    def num_moved(self) -> int:
        """Sessions that went on at another server, since the start."""
        return self.service.log_path.read_text(errors="replace").count(MOVED)

    async def stop(self) -> None:
        await asyncio.gather(*(triton.stop() for triton in self.tritons))

    @property
    def _key(self) -> Path:
        return self._folder / "control-key"

    def _settings(self, port: int) -> Settings:
        return Settings(cache_dir=self._folder, triton_grpc_port=port, triton_control_key_file=self._key)


@contextlib.asynccontextmanager
async def staged(count: int) -> AsyncIterator[Stage]:
    """So many servers, in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="qwen3-asr-replicas-") as folder:
        stage = Stage(Path(folder), count)
        try:
            await stage.start()
            with stage.serving():
                yield stage
        finally:
            await stage.stop()


def all_ready(told: Told) -> bool:
    return all(one["state"] == "ready" for one in told)
