"""A worker's Triton: the master has it started, watched and mended, and tells where it is."""

from __future__ import annotations

import asyncio
import contextlib
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
from frontend.workers.channel import Channel

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
        self._state: dict[str, Any] = {}
        # Whether the master knows that somebody works here, and gives Triton not up.
        self._held = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to listen to the master; returns at once."""
        self._supervisor = asyncio.gather(self._follow(), self._tell_answers())  # type: ignore[assignment]

    @contextlib.asynccontextmanager
    async def use(self) -> AsyncIterator[TritonClient]:
        self._active += 1
        self._count.add(1)
        if self._active == 1:
            self._channel.tell(active=True)
        try:
            await self._until_held()
            yield await self.connected()
        finally:
            self._active -= 1
            self._count.add(-1)
            if not self._active:
                self._held.clear()
                self._channel.tell(active=False)

    async def _until_held(self) -> None:
        """Only where Triton may be given up while nobody works does anybody wait to be known to work."""
        if not self._settings.idle_timeout and self._settings.load == "start":
            return
        try:
            with anyio.fail_after(self._settings.triton_start_timeout_s):
                await self._held.wait()
        except TimeoutError:
            raise TritonUnavailable(self.failure or "it is still starting") from None

    @property
    def active(self) -> int:
        return self._count.total

    @property
    def is_asleep(self) -> bool:
        return bool(self._state.get("asleep"))

    @property
    def states(self) -> dict[str, str]:
        return dict(self._state.get("states", {}))

    @property
    def lost(self) -> dict[str, str]:
        return dict(self._state.get("lost", {}))

    @property
    def healed(self) -> dict[str, int]:
        return dict(self._state.get("healed", {}))

    async def wait_failed(self) -> None:
        """The master sees that, and ends all."""
        await asyncio.Event().wait()

    async def _follow(self) -> None:
        async for message in self._channel.messages():
            if "state" in message:
                self._take(message["state"])
            elif "renewed" in message and self._client is not None:
                self._client.renewals.note(message["renewed"])
            elif "held" in message and self._active:
                self._held.set()
        # The master is gone, and Triton with it: live sessions get what finals there are, then this process ends.
        os.kill(os.getpid(), signal.SIGTERM)

    def _take(self, state: dict[str, Any]) -> None:
        before, self._state = self._state, state
        self.failure, self.metrics_url = state["failure"], state["metrics_url"]
        self.served_model_name = state["name"]
        # What was exported since the master began is not loaded.
        self.models = tuple(state["models"])
        if state["generation"] != before.get("generation"):
            self._ready.clear()
            client, self._client = self._client, None
            if client is not None:
                closing = asyncio.create_task(client.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
            if state["url"] is not None:
                self._client = TritonClient(state["url"], credentials=self._credentials)
                self._client.on_failure = lambda message: self._channel.tell(failed=message)
        if self._client is not None and state["ready"]:
            self._ready.set()
        else:
            self._ready.clear()

    async def _tell_answers(self) -> None:
        """And that this process goes on, which its master would end otherwise."""
        told_at = 0.0
        while True:
            await asyncio.sleep(TELL_S)
            answered = self._client.answered if self._client is not None else {}
            fresh = {model: when for model, when in answered.items() if when > told_at}
            if fresh or time.monotonic() - told_at > ALIVE_S:
                told_at = time.monotonic()
                self._channel.tell(answered=fresh)
