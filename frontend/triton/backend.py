"""The Triton behind the frontend, or several: embedded and supervised, or somewhere else by address."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio

from frontend.guard import tls
from frontend.settings import Settings
from frontend.triton import control, lives, profiles
from frontend.triton.addresses import Address
from frontend.triton.balancer import FILE, LIVE
from frontend.triton.client import TritonClient, TritonUnavailable
from frontend.triton.fleet import Fleet
from frontend.triton.pace import Pace
from frontend.triton.server import Server
from frontend.triton.wheel import TritonError

logger = logging.getLogger(__name__)

RESTART_DELAY_S = 1.0
POLL_S = 0.1
NAME_S = 60.0


class Backend:
    """Owns the connections, and the child process where Triton is embedded. A child that dies is started again.

    Whoever works with Triton holds `use` as long; where that is wanted, Triton's models are given up after a while in
    which nobody does, and are back for the next one, who waits for them.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.fleet = Fleet()
        # None for the embedded one, which listens on loopback.
        self._credentials = tls.triton_credentials(settings)
        self._ready = asyncio.Event()
        # Somebody waits for Triton, or works with it.
        self._wanted = asyncio.Event()
        self._active = 0
        # Models that not every server has, and whether those that were seen last had them.
        self._had: dict[str, bool] = {}
        # How often each model of a server was loaded again, by its address; "" is ours, whichever port it has. It
        # outlives servers that are started anew or named again.
        self._healed_at: dict[str, Counter[str]] = {}
        self._last_used = time.monotonic()
        self._supervisor: asyncio.Task[None] | None = None
        self._served = False
        self.failure: str | None = None
        self.served_model_name = self._name()
        self.models = _models(settings)
        # Where they are not known, because Triton is somebody else's, None.
        self.profile = profiles.named(settings.profile or "") if settings.is_embedded else settings.profile
        self.metrics_url: str | None = None
        # Whose name and version, since when, and which.
        self._server: tuple[TritonClient, float, dict[str, str]] | None = None

    async def start(self) -> None:
        """Begin; returns at once. `use` waits for the result."""
        if self.settings.load == "start":
            self._wanted.set()
        self._supervisor = asyncio.create_task(self._supervise(lives.of(self.settings)))

    async def stop(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        await self.fleet.close()

    @contextlib.asynccontextmanager
    async def use(self) -> AsyncIterator[TritonClient]:
        """A connection for a live session, once Triton is there, which is not given up meanwhile; TritonUnavailable
        where it is not in time."""
        self._active += 1
        self._wanted.set()
        try:
            yield await self.connected_live()
        finally:
            self._active -= 1
            self._last_used = time.monotonic()

    async def connected(self) -> TritonClient:
        """The connection to ask over next, for those who hold `use`: of several servers the one that has most room
        for a segment of a file, or anything else that is answered soon."""
        return await self._connected(self._chosen_file)

    async def connected_live(self) -> TritonClient:
        """The same for a live session, which stays where it begins as long as that can be."""
        return await self._connected(self.fleet.choose_live)

    async def _chosen_file(self) -> TritonClient | None:
        return self.fleet.choose(FILE)

    async def _connected(self, choose: Callable[[], Awaitable[TritonClient | None]]) -> TritonClient:
        try:
            with anyio.fail_after(self.settings.triton_start_timeout_s):
                while True:
                    await self._ready.wait()
                    client = await choose()
                    if client is not None:
                        return client
                    # All of them are drained.
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            why = "every server is drained" if self._ready.is_set() else "it is still starting"
            raise TritonUnavailable(self.failure or why) from None

    def chosen(self) -> TritonClient | None:
        """A connection for a live session, without waiting and without a wish for it."""
        return self.fleet.choose(LIVE) if self._ready.is_set() else None

    @property
    def active(self) -> int:
        """Requests and live sessions that work with Triton or wait for it."""
        return self._active

    @property
    def has_begun(self) -> bool:
        """Whether there is a connection."""
        return self._ready.is_set()

    @property
    def is_asleep(self) -> bool:
        """Whether nothing is loaded because nobody works; the next request loads it."""
        return not self._ready.is_set() and not self._wanted.is_set()

    @property
    def current(self) -> TritonClient | None:
        """A connection there is, without a wish for it: of several servers, to one that is well."""
        server = self.fleet.first if self._ready.is_set() else None
        return server.client if server is not None else None

    def is_ready(self) -> bool:
        """Whether a request would be answered, at once or after a load: by one of the servers."""
        return self.is_asleep or (self._ready.is_set() and self.fleet.is_well)

    def readiness(self) -> dict[str, bool]:
        """Which of the models that are served can answer now, as the watcher saw half a second ago, or somebody's
        request since; none where there is no connection. Nobody is asked: probes are many where there is load."""
        if self.current is None:
            return {}
        told = [server.readiness() for server in self.fleet if not server.odd]
        return {model: any(one[model] for one in told) for model in self.models}

    @property
    def states(self) -> dict[str, str]:
        """What Triton calls its models, by name, when it was last asked."""
        server = self.fleet.first
        return server.known.states if server is not None else {}

    def servers(self) -> list[dict[str, Any]]:
        """Each of them, as /health tells it."""
        now = time.monotonic()
        return [server.as_told(now) for server in self.fleet]

    async def server(self) -> dict[str, str]:
        """Triton's name and version, as it told them within the last minute. Raises TritonUnavailable."""
        client = self.current
        if client is None:
            raise TritonUnavailable("there is no connection")
        if self._server is None or self._server[0] is not client or time.monotonic() - self._server[1] > NAME_S:
            self._server = (client, time.monotonic(), await client.server_metadata())
        return self._server[2]

    @property
    def has_aligner(self) -> bool:
        """Whether words can have times here: where the models are not known, since Triton had it ready. A model that is
        loaded again is waited for, and not denied."""
        return self._serves(profiles.ALIGN)

    @property
    def has_speakers(self) -> bool:
        """Whether speakers can be told apart here, likewise."""
        return self._serves(profiles.SPEAKERS)

    def _serves(self, model: str) -> bool:
        seen = [server for server in self.fleet if server.known.states and not server.odd]
        if seen:
            self._had[model] = any(server.has(model) for server in seen)
        return self._had.get(model, model in self.models)

    @property
    def lost(self) -> dict[str, str]:
        """The models that no server can answer now although Triton may call them ready, and why."""
        lost = [server.known.unhealthy for server in self.fleet if not server.is_drained]
        return {model: why for model, why in (lost[0] if lost else {}).items() if all(model in one for one in lost)}

    @property
    def healed(self) -> dict[str, int]:
        """How often each model was loaded again because it was lost, at all servers that there were since the start."""
        return dict(sum(self._healed_at.values(), Counter()))

    async def wait_failed(self) -> None:
        """Return when the embedded Triton could not be started at all."""
        if self._supervisor is None:
            await asyncio.Event().wait()
        else:
            await asyncio.wait([self._supervisor])

    # For those who make Triton ready (lives.py).

    def connect(self, address: Address, control_key: Callable[[], str] | None = None) -> TritonClient:
        """A connection. control_key: of one elsewhere it is in a file, which may be written after this."""
        key_file = self.settings.triton_control_key_file
        key = control_key or (lambda: control.read_key(key_file))
        return TritonClient(address.url, key, self._credentials, address.name)

    def open(
        self,
        address: Address,
        control_key: Callable[[], str] | None = None,
        pid: Callable[[], int | None] | None = None,
    ) -> Server:
        """A server more, which is watched. pid: its process id, where it is ours."""
        owned = pid is not None
        # Those at which nothing was healed are forgotten: addresses come and go for years.
        kept = {url: counts for url, counts in self._healed_at.items() if counts or self.fleet.get(url) is not None}
        self._healed_at = kept
        healed = self._healed_at.setdefault("" if owned else address.url, Counter())
        server = Server(address, self.connect(address, control_key), self.models, healed)
        self.fleet.add(server)
        server.watch(Pace.of(self.settings, processes_are_seen=owned), owned=owned, pid=pid)
        return server

    def begin(self) -> None:
        """There is a connection to ask over."""
        self._last_used = time.monotonic()
        self.failure = None
        self._served = True
        self._ready.set()

    async def shut(self) -> None:
        self._ready.clear()
        await self.fleet.close()

    def gives_up(self) -> bool:
        """Whether nobody has worked for a while. Decided and acted on in one step of the loop, so that nobody begins
        between the two."""
        timeout_s = self.settings.idle_timeout
        idle = bool(timeout_s) and not self._active and time.monotonic() - self._last_used > timeout_s
        if idle:
            self._ready.clear()
            self._wanted.clear()
        return idle

    def name_anew(self) -> None:
        """What is served may have another name since the last start."""
        self.served_model_name = self._name()

    def _name(self) -> str:
        """The served model's name: the setting, or what the exported checkpoint is called."""
        if self.settings.served_model_name:
            return self.settings.served_model_name
        path = self.settings.model_repository / "decoder" / "1" / "checkpoint" / "export.json"
        if self.settings.is_embedded and path.is_file():
            return str(json.loads(path.read_text(encoding="utf-8"))["name"])
        return "qwen3-asr"

    async def _supervise(self, life: lives.Life) -> None:
        while True:
            await self._wanted.wait()
            try:
                await life(self)
                continue
            except TritonError as error:
                self.failure = str(error)
                if not self._served:
                    # Nothing will change by itself: let the process end with the reason.
                    logger.error("%s", error)
                    return
            logger.error("%s; it is started again", self.failure)
            await asyncio.sleep(RESTART_DELAY_S)


def _models(settings: Settings) -> tuple[str, ...]:
    """What the frontend needs loaded: all of the profile, or, of a Triton elsewhere whose repository is not at hand,
    what takes files and live streams."""
    profile, repository = settings.profile, settings.model_repository
    if settings.is_embedded or (profile is not None and profiles.at_hand(repository)):
        return profiles.models_of(repository, profile or profiles.DEFAULT)
    return profiles.LOADED
