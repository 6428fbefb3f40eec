"""A worker's Triton: the master has it started, watched and mended, and tells where it is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio

from frontend.guard.counts import Count
from frontend.settings import Settings
from frontend.triton.backend import Backend
from frontend.triton.client import TritonClient, TritonUnavailable
from frontend.triton.server import Server
from frontend.workers.channel import Channel
from frontend.workers.hearsay import address_of, take

logger = logging.getLogger(__name__)

# How often the master is told which models have answered: its watcher need not ask those.
TELL_S = 0.5
# And how often it hears something at least.
ALIVE_S = 5.0


class FollowingBackend(Backend):
    """The master's, as a worker sees it: whoever holds `use` here makes the worker hold it there."""

    def __init__(self, settings: Settings, channel: Channel, active: Count) -> None:
        """active: requests and live sessions of all workers."""
        super().__init__(settings)
        self._channel = channel
        self._count = active
        self._asleep = False
        self._healed: dict[str, int] = {}
        # Of the master's connections, by address: another one is to another server.
        self._generations: dict[str, int] = {}
        # Whether the master knows that somebody works here, and gives Triton not up.
        self._held = asyncio.Event()

    async def start(self) -> None:
        """Begin to listen to the master; returns at once."""
        self._supervisor = asyncio.create_task(self._work())

    @contextlib.asynccontextmanager
    async def use(self) -> AsyncIterator[TritonClient]:
        self._active += 1
        self._count.add(1)
        if self._active == 1:
            self._channel.tell(active=True)
        try:
            await self._until_held()
            yield await self.connected_live()
        finally:
            self._active -= 1
            self._count.add(-1)
            if not self._active:
                self._held.clear()
                self._channel.tell(active=False)

    async def _until_held(self) -> None:
        """Only where Triton may be given up while nobody works does anybody wait to be known to work."""
        if not self.settings.idle_timeout and self.settings.load == "start":
            return
        try:
            with anyio.fail_after(self.settings.triton_start_timeout_s):
                await self._held.wait()
        except TimeoutError:
            raise TritonUnavailable(self.failure or "it is still starting") from None

    @property
    def active(self) -> int:
        return self._count.total

    @property
    def is_asleep(self) -> bool:
        return self._asleep

    @property
    def healed(self) -> dict[str, int]:
        return self._healed

    async def wait_failed(self) -> None:
        """The master sees that, and ends all."""
        await asyncio.Event().wait()

    async def _work(self) -> None:
        """Everything that goes on beside requests. Where any of it ends, this process asks itself to end: live sessions
        get what finals there are, and the master, where there is one, starts another process."""
        tasks = [asyncio.create_task(one) for one in (self._follow(), self._tell_answers(), self.fleet.tend())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done() and (error := task.exception()) is not None:
                    logger.error("the master is not followed any more: this process ends", exc_info=error)
            os.kill(os.getpid(), signal.SIGTERM)
            # What there is beside goes on meanwhile.
            await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self) -> None:
        """Until the master is gone, and Triton with it."""
        async for message in self._channel.messages():
            if "state" in message:
                self._take(message["state"])
            elif "renewed" in message and (server := self.fleet.get(message["url"])) is not None:
                server.client.renewals.note(message["renewed"])
            elif "held" in message and self._active:
                self._held.set()

    def _take(self, state: dict[str, Any]) -> None:
        self.failure, self.metrics_url = state["failure"], state["metrics_url"]
        self.served_model_name, self._asleep = state["name"], state["asleep"]
        self._healed = state["healed"]
        # What was exported since the master began is not loaded.
        self.models = tuple(state["models"])
        told = {one["url"]: one for one in state["servers"]}
        self.fleet.name([address_of(one) for one in told.values()])
        for url, one in told.items():
            server = self.fleet.get(url)
            if server is None or one["generation"] != self._generations.get(url):
                server = self._followed(one)
            take(server, one)
        if told and state["ready"]:
            self._ready.set()
        else:
            self._ready.clear()

    def _followed(self, told: dict[str, Any]) -> Server:
        """A connection to the server that the master has, in the place of one that it has no more."""
        address = address_of(told)
        self._generations[address.url] = told["generation"]
        client = self.connect(address, str)
        client.on_failure = lambda message: self._channel.tell(failed=message, url=address.url)
        server = Server(address, client, self.models)
        self.fleet.add(server)
        return server

    async def _tell_answers(self) -> None:
        """And that this process goes on, which its master would end otherwise."""
        told_at = 0.0
        while True:
            await asyncio.sleep(TELL_S)
            answered = {server.url: server.client.answered for server in self.fleet}
            fresh = {
                url: {model: when for model, when in times.items() if when > told_at} for url, times in answered.items()
            }
            fresh = {url: times for url, times in fresh.items() if times}
            if fresh or time.monotonic() - told_at > ALIVE_S:
                told_at = time.monotonic()
                for url, times in (fresh or {"": {}}).items():
                    self._channel.tell(answered=times, url=url)
