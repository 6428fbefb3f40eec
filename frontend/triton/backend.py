"""The Triton behind the frontend: embedded and supervised, or somewhere else by address."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio

from frontend.guard import tls
from frontend.settings import Settings
from frontend.triton import control, profiles
from frontend.triton.client import TritonClient, TritonRefused, TritonUnavailable
from frontend.triton.healing import ServerLost
from frontend.triton.pace import Pace
from frontend.triton.process import EmbeddedTriton, TritonError
from frontend.triton.watcher import READY, Watcher

logger = logging.getLogger(__name__)

RESTART_DELAY_S = 1.0
POLL_S = 0.1
NAME_S = 60.0


class Backend:
    """Owns the connection, and the child process where Triton is embedded. A child that dies is started again.

    Whoever works with Triton holds `use` as long; where that is wanted, Triton's models are given up after a while in
    which nobody does, and are back for the next one, who waits for them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: TritonClient | None = None
        # None for the embedded one, which listens on loopback.
        self._credentials = tls.triton_credentials(settings)
        self._ready = asyncio.Event()
        # Somebody waits for Triton, or works with it.
        self._wanted = asyncio.Event()
        self._active = 0
        # Models that a server had ready whose models are not known.
        self._had: set[str] = set()
        self._last_used = time.monotonic()
        self._supervisor: asyncio.Task[None] | None = None
        self._served = False
        self.failure: str | None = None
        self.served_model_name = self._name()
        self.models = _models(settings)
        # Where they are not known, because Triton is somebody else's, None.
        self.profile = profiles.named(settings.profile or "") if settings.triton_url is None else settings.profile
        self.metrics_url: str | None = None
        self._watcher: Watcher | None = None
        self._watching: asyncio.Task[None] | None = None
        # Whose name and version, since when, and which.
        self._server: tuple[TritonClient, float, dict[str, str]] | None = None

    async def start(self) -> None:
        """Begin; returns at once. `use` waits for the result."""
        if self._settings.load == "start":
            self._wanted.set()
        if self._settings.triton_url is None:
            self._supervisor = asyncio.create_task(self._supervise(self._embedded))
        elif self._settings.load == "start" and not self._settings.idle_timeout:
            self._supervisor = asyncio.create_task(self._supervise(self._elsewhere))
        else:
            self._supervisor = asyncio.create_task(self._supervise(self._remote))

    async def stop(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        if self._client is not None:
            await self._client.close()

    @contextlib.asynccontextmanager
    async def use(self) -> AsyncIterator[TritonClient]:
        """The connection, once Triton is there, which is not given up meanwhile; TritonUnavailable where it is not in
        time."""
        self._active += 1
        self._wanted.set()
        try:
            yield await self.connected()
        finally:
            self._active -= 1
            self._last_used = time.monotonic()

    async def connected(self) -> TritonClient:
        """The connection there is now, for those who hold `use`: after Triton was lost, the next one."""
        try:
            with anyio.fail_after(self._settings.triton_start_timeout_s):
                await self._ready.wait()
        except TimeoutError:
            raise TritonUnavailable(self.failure or "it is still starting") from None
        assert self._client is not None
        return self._client

    @property
    def active(self) -> int:
        """Requests and live sessions that work with Triton or wait for it."""
        return self._active

    @property
    def is_asleep(self) -> bool:
        """Whether nothing is loaded because nobody works; the next request loads it."""
        return not self._ready.is_set() and not self._wanted.is_set()

    @property
    def current(self) -> TritonClient | None:
        """The connection there is, without a wish for it."""
        return self._client if self._ready.is_set() else None

    def is_ready(self) -> bool:
        """Whether a request would be answered, at once or after a load."""
        readiness = self.readiness()
        return self.is_asleep or (bool(readiness) and all(readiness.values()))

    def readiness(self) -> dict[str, bool]:
        """Which of the models that are served can answer now, as the watcher saw half a second ago, or somebody's
        request since; none where there is no connection. Nobody is asked: probes are many where there is load."""
        if self.current is None:
            return {}
        states, lost = self.states, self.lost
        return {model: states.get(model) == READY and model not in lost for model in self.models}

    @property
    def states(self) -> dict[str, str]:
        """What Triton calls its models, by name, when it was last asked."""
        return self._watcher.states if self._watcher is not None else {}

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
        if self.states.get(model) == READY:
            self._had.add(model)
        return model in self.models or model in self._had

    @property
    def lost(self) -> dict[str, str]:
        """The models that cannot answer now although Triton may call them ready, and why."""
        return self._watcher.unhealthy if self._watcher is not None else {}

    @property
    def healed(self) -> dict[str, int]:
        """How often each model was loaded again because it was lost."""
        return dict(self._watcher.healed) if self._watcher is not None else {}

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

    async def _supervise(self, serve: Callable[[], Awaitable[None]]) -> None:
        """serve: makes Triton ready, returns when it is to be given up, raises TritonError when it is lost."""
        while True:
            await self._wanted.wait()
            try:
                await serve()
                continue
            except TritonError as error:
                self.failure = str(error)
                if not self._served:
                    # Nothing will change by itself: let the process end with the reason.
                    logger.error("%s", error)
                    return
            logger.error("%s; it is started again", self.failure)
            await asyncio.sleep(RESTART_DELAY_S)

    async def _embedded(self) -> None:
        triton = EmbeddedTriton(self._settings, self.models)
        try:
            await triton.start()
            wanted = self._settings.triton_grpc_port
            if wanted not in (0, triton.grpc_port):
                logger.warning("port %s is taken: Triton's gRPC is at %s", wanted, triton.url)
            self.metrics_url = triton.metrics_url
            # What was loaded just now may have been exported since the last start.
            self.served_model_name = self._name()
            self._open(triton.url, lambda: triton.control_key, lambda: triton.pid)
            logger.info("Triton is ready at %s (pid %s, log %s)", triton.url, triton.pid, triton.log_path)
            while triton.is_running():
                if self._is_idle():
                    logger.info("nobody works: Triton is ended")
                    return
                if self._watching is not None and self._watching.done():
                    triton.kill()
                    raise TritonError(f"the embedded Triton does not answer any more (log: {triton.log_path})")
                await asyncio.sleep(POLL_S)
            raise TritonError(f"the embedded Triton ended unexpectedly (log: {triton.log_path})")
        finally:
            self.metrics_url = None
            await self._shut()
            await triton.stop()

    async def _elsewhere(self) -> None:
        """A Triton by address that is always wanted: what of it is lost is loaded again, where that is allowed."""
        assert self._settings.triton_url is not None
        self._open(self._settings.triton_url, self._control_key)
        try:
            while True:
                assert self._watching is not None
                # It ends where the server answers nothing; the connection finds it again by itself.
                await asyncio.wait([self._watching])
                self._watch()
        finally:
            await self._shut()

    async def _remote(self) -> None:
        assert self._settings.triton_url is not None
        client = TritonClient(self._settings.triton_url, self._control_key, self._credentials)
        try:
            for model in self.models:
                await client.load(model, self._settings.triton_start_timeout_s)
            self._open(self._settings.triton_url, self._control_key)
            while not self._is_idle():
                await asyncio.sleep(POLL_S)
            self._ready.clear()
            await self._look_away()
            for model in self.models:
                await client.unload(model)
            logger.info("nobody works: the models are unloaded")
        except (TritonUnavailable, TritonRefused) as error:
            raise TritonError(f"the models of {self._settings.triton_url} cannot be managed: {error}") from error
        finally:
            await self._shut()
            await client.close()

    def _control_key(self) -> str:
        """Of a Triton elsewhere; its file may be written after this process has begun."""
        return control.read_key(self._settings.triton_control_key_file)

    def _open(self, url: str, control_key: Callable[[], str], server: Callable[[], int | None] | None = None) -> None:
        """server: its process id, where it is ours."""
        self._client = TritonClient(url, control_key, self._credentials)
        self._last_used = time.monotonic()
        self.failure = None
        self._served = True
        owned = server is not None
        pace = Pace.of(self._settings, processes_are_seen=owned)
        self._watcher = Watcher(self._client, self.models, pace, owned=owned, server=server)
        self._client.on_failure = self._watcher.suspect
        self._watch()
        self._ready.set()

    def _watch(self) -> None:
        assert self._watcher is not None
        self._watching = asyncio.create_task(_watched(self._watcher))

    async def _shut(self) -> None:
        self._ready.clear()
        await self._look_away()
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _look_away(self) -> None:
        """What goes from now on is meant to go."""
        watching, self._watching, self._watcher = self._watching, None, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])

    def _is_idle(self) -> bool:
        """Decided and acted on in one step of the loop, so that nobody begins between the two."""
        timeout_s = self._settings.idle_timeout
        idle = bool(timeout_s) and not self._active and time.monotonic() - self._last_used > timeout_s
        if idle:
            self._ready.clear()
            self._wanted.clear()
        return idle


async def _watched(watcher: Watcher) -> None:
    """Until the server is lost."""
    try:
        await watcher.run()
    except ServerLost as error:
        logger.error("Triton answers nothing: %s", error)


def _models(settings: Settings) -> tuple[str, ...]:
    """What the frontend needs loaded: all of the profile, or, of a Triton elsewhere whose repository is not at hand,
    what takes files and live streams."""
    profile, repository = settings.profile, settings.model_repository
    if settings.triton_url is None or (profile is not None and profiles.at_hand(repository)):
        return profiles.models_of(repository, profile or profiles.DEFAULT)
    return profiles.LOADED
