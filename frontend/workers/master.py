"""The process that owns Triton, its watcher and its control secret, and the workers that serve."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import mmap
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frontend.guard.counts import Counts
from frontend.guard.keys import Keys
from frontend.settings import Settings
from frontend.triton.backend import Backend
from frontend.triton.client import TritonUnavailable
from frontend.workers.channel import Channel
from frontend.workers.hearsay import as_told
from frontend.workers.listening import listen
from frontend.workers.worker import Orders

logger = logging.getLogger(__name__)

LOOK_S = 0.1
METRICS = "frontend-metrics-"
# Between a worker's end and the next one's start: longer each time where it did not live as long as this.
RESTART_FIRST_S, RESTART_MOST_S, WELL_S = 0.1, 10.0, 30.0
# A worker tells something every few seconds; one that does not is stopped, or its loop is.
HANG_S = 30.0
# How much longer than their sessions and requests may take workers are waited for when the service ends.
END_S = 10.0


@dataclass
class Worker:
    """One process, or what is to become one again. served: whether any process of this row has."""

    row: int
    listening: socket.socket
    process: subprocess.Popen[bytes] | None = None
    channel: Channel | None = None
    started_at: float = 0.0
    pause_s: float = RESTART_FIRST_S
    served: bool = False
    serving: asyncio.Event = field(default_factory=asyncio.Event)
    heard_at: float = 0.0
    holding: asyncio.Task[None] | None = None


def _metrics_folder() -> str:
    """A new one; those of masters that were killed are removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{METRICS}*"):
        pid = left.name.removeprefix(METRICS).partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"{METRICS}{os.getpid()}-")


class Master:
    """`run` until a signal, or until Triton or the workers cannot be started at all."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        """Raises OSError where the port is taken."""
        self._settings = settings
        self._keys = keys
        count = settings.num_processes
        self._workers = [Worker(*pair) for pair in enumerate(listen(settings.host, settings.port, count))]
        self._memory = os.memfd_create("frontend-counts")
        size = Counts.size(keys.num_clients, count)
        os.ftruncate(self._memory, size)
        self._counts = Counts(keys.num_clients, count, 0, mmap.mmap(self._memory, size))
        # Where prometheus_client's multiprocess mode keeps what each worker counts.
        self._metrics = _metrics_folder()
        self._backend = Backend(settings)
        self._state: dict[str, Any] = {}
        self._ending = asyncio.Event()

    async def run(self, begun: Callable[[Backend, socket.socket], Awaitable[None]]) -> int:
        """Returns the exit code. begun: goes on beside it once all workers listen."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        await self._backend.start()
        keeping = [asyncio.create_task(self._keep(worker)) for worker in self._workers]
        telling = asyncio.create_task(self._tell_state())
        beside = [telling, asyncio.create_task(self._begin(begun))]
        failed = asyncio.create_task(self._backend.wait_failed())
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait([failed, ending, telling, *keeping], return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                logger.error("workers are not told of Triton any more: all ends", exc_info=telling.exception())
            gave_up = not self._ending.is_set()
            self._ending.set()
            self._send_all(signal.SIGTERM)
            # Their sessions, then their requests.
            timeout_s = 2 * self._settings.drain_timeout_s + END_S
            await asyncio.wait(keeping, timeout=timeout_s)
            self._send_all(signal.SIGKILL)
            await asyncio.wait(keeping, timeout=END_S)
        finally:
            for task in [*keeping, *beside, failed, ending]:
                task.cancel()
            await asyncio.gather(*keeping, *beside, failed, ending, return_exceptions=True)
            await self._backend.stop()
            shutil.rmtree(self._metrics, ignore_errors=True)
        return 1 if gave_up else 0

    def _signalled(self) -> None:
        if self._ending.is_set():
            # The second one: nobody waits any longer.
            self._send_all(signal.SIGTERM)
        self._ending.set()

    def _send_all(self, number: int) -> None:
        for worker in self._workers:
            if worker.process is not None and worker.process.poll() is None:
                worker.process.send_signal(number)

    async def _begin(self, begun: Callable[[Backend, socket.socket], Awaitable[None]]) -> None:
        for worker in self._workers:
            await worker.serving.wait()
        await begun(self._backend, self._workers[0].listening)

    async def _keep(self, worker: Worker) -> None:
        """One worker after the other, until the service ends; returns too where none of its row ever serves."""
        while not self._ending.is_set():
            await self._start(worker)
            assert worker.process is not None
            code = await self._ended(worker)
            worker.serving.clear()
            self._counts.clear(worker.row)
            if self._ending.is_set():
                break
            if not worker.served:
                logger.error("worker %s ended with %s before it served", worker.row, code)
                return
            lived_s = time.monotonic() - worker.started_at
            worker.pause_s = RESTART_FIRST_S if lived_s > WELL_S else min(2 * worker.pause_s, RESTART_MOST_S)
            logger.error("worker %s ended with %s: it is started again", worker.row, code)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ending.wait(), worker.pause_s)
        # What connects from now on is for those that still serve.
        worker.listening.close()

    async def _start(self, worker: Worker) -> None:
        ours, theirs = socket.socketpair()
        files = (worker.listening.fileno(), self._memory, theirs.fileno())
        orders = Orders(worker.row, len(self._workers), *files, [one.hex() for one in self._keys.hashes])
        worker.started_at = time.monotonic()
        profile = {"ASR_MODEL_CONFIG_NAME": self._settings.model_config_name or "default"}
        worker.process = subprocess.Popen(
            [sys.executable, "-m", "frontend.workers.worker"],
            stdin=subprocess.PIPE,
            pass_fds=files,
            env={
                **os.environ,
                **(profile if self._settings.is_embedded else {}),
                "PROMETHEUS_MULTIPROC_DIR": self._metrics,
            },
            # A Ctrl-C in the terminal is for the master, which ends its workers in order.
            start_new_session=True,
        )
        theirs.close()
        assert worker.process.stdin is not None
        with worker.process.stdin, contextlib.suppress(BrokenPipeError):
            worker.process.stdin.write(orders.as_json().encode())
        worker.channel = await Channel.over(ours)
        worker.channel.tell(state=self._state_of_now())

    async def _ended(self, worker: Worker) -> int:
        """Listen to a worker until its process has ended; returns its exit code."""
        assert worker.process is not None
        assert worker.channel is not None
        listening = asyncio.create_task(self._listen(worker, worker.channel))
        try:
            while (code := worker.process.poll()) is None:
                await asyncio.wait([listening], timeout=LOOK_S)
                if listening.done():
                    if (error := listening.exception()) is not None:
                        logger.error("worker %s is not listened to any more: it is ended", worker.row, exc_info=error)
                        worker.process.kill()
                    await asyncio.sleep(LOOK_S)
                if worker.serving.is_set() and time.monotonic() - worker.heard_at > HANG_S:
                    # What it holds is lost to its clients already; what would come to it is not.
                    logger.error("worker %s says nothing for %g s: it is ended", worker.row, HANG_S)
                    worker.process.kill()
            return code
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            self._hold(worker, active=False)
            worker.channel.close()

    async def _listen(self, worker: Worker, channel: Channel) -> None:
        async for message in channel.messages():
            worker.heard_at = time.monotonic()
            server = self._backend.fleet.get(message.get("url", ""))
            if "serving" in message:
                worker.served = True
                worker.serving.set()
            elif "active" in message:
                self._hold(worker, active=message["active"])
            elif server is not None and "failed" in message:
                server.client.on_failure(message["failed"])
            elif server is not None and "answered" in message:
                answered = server.client.answered
                for model, when in message["answered"].items():
                    answered[model] = max(when, answered.get(model, 0.0))

    def _hold(self, worker: Worker, *, active: bool) -> None:
        """Triton is in use as long as a worker works with it."""
        if worker.holding is not None:
            worker.holding.cancel()
            worker.holding = None
        if active and worker.channel is not None:
            worker.holding = asyncio.create_task(self._use(worker.channel))

    async def _use(self, channel: Channel) -> None:
        while True:
            with contextlib.suppress(TritonUnavailable):
                async with self._backend.use():
                    channel.tell(held=True)
                    await asyncio.Event().wait()

    async def _tell_state(self) -> None:
        while True:
            if (state := self._state_of_now()) != self._state:
                self._state = state
                self._tell_all(state=state)
            await asyncio.sleep(LOOK_S)

    def _state_of_now(self) -> dict[str, Any]:
        backend = self._backend
        for server in backend.fleet:
            server.client.renewals.on_note = functools.partial(self._tell_renewed, server.url)
        state = {
            "servers": [as_told(server, several=len(backend.fleet) > 1) for server in backend.fleet],
            "ready": backend.has_begun,
            "asleep": backend.is_asleep,
            "failure": backend.failure,
            "name": backend.served_model_name,
            "metrics_url": backend.metrics_url,
            "models": backend.models,
            "healed": backend.healed,
        }
        # As the workers see it: a copy that does not change with what it was made of.
        copy: dict[str, Any] = json.loads(json.dumps(state))
        return copy

    def _tell_renewed(self, url: str, model: str) -> None:
        self._tell_all(renewed=model, url=url)

    def _tell_all(self, **message: Any) -> None:
        for worker in self._workers:
            if worker.channel is not None:
                worker.channel.tell(**message)
