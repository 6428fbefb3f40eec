"""Models that are lost, unloaded and loaded again, alone; or the server given up where that does not help."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable

from frontend.triton.client import TritonClient, TritonRefused, TritonUnavailable
from frontend.triton.errors import ControlRefused
from frontend.triton.instances import Instances, kill
from frontend.triton.pace import Pace

logger = logging.getLogger(__name__)

READY = "READY"
ON_THEIR_WAY = ("LOADING", "UNLOADING")
# Two that watch the same server see a model's end at the same moment: this apart, one of them finds it healed.
JITTER_S = 0.1
# Between two trials to load what does not load.
MOST_PAUSE_S = 30.0
# What is loaded again, and is not well so soon after, was not helped by that, nor will be by many more trials.
VAIN_S, MOST_VAIN = 60.0, 2
# The same of what cannot be loaded at all; the pauses between these trials are 2, 4 and 8 s.
MOST_FAILURES = 4
# What Triton says where models are somebody else's care.
CONTROL_REFUSED = "explicit model load / unload is not allowed"


class ServerLost(Exception):
    """Nothing is answered at all: the server is gone, or hangs; or a model of it stays lost, loaded again or not. The
    server has to be started anew."""


class Healer:
    """Of one server. `healed` counts, `forbidden` says why models cannot be loaded again by us, where that is so."""

    def __init__(
        self,
        client: TritonClient,
        pace: Pace,
        instances: Instances | None,
        is_back: Callable[[str], None],
        *,
        owned: bool,
        healed: Counter[str] | None = None,
    ) -> None:
        """is_back: told of each that was healed. owned: whether the server is started anew where it is given up.
        healed: what was counted of it before, and goes on."""
        self._client = client
        self._pace = pace
        self._instances = instances
        self._is_back = is_back
        self._owned = owned
        # What could not be loaded, how often, and when it is tried again.
        self._failures: Counter[str] = Counter()
        self._not_before: dict[str, float] = {}
        self._vain: Counter[str] = Counter()
        self.back: dict[str, float] = {}
        self.forbidden = ""
        self.healed: Counter[str] = Counter() if healed is None else healed

    def may(self, name: str) -> bool:
        """Whether it is to be tried now."""
        return not self.forbidden and time.monotonic() >= self._not_before.get(name, 0.0)

    def note_back(self, name: str) -> None:
        """Whoever healed it."""
        self._failures.pop(name, None)
        self.back[name] = time.monotonic()

    def forbid(self, why: str) -> None:
        """Say it once."""
        if not self.forbidden:
            logger.error("models cannot be loaded again by us: %s", why)
        self.forbidden = why

    def allow(self) -> None:
        """The file has the right secret by now; a server whose models are somebody else's care has them for good."""
        if CONTROL_REFUSED not in self.forbidden:
            self.forbidden = ""

    async def heal(self, name: str, reason: str, *, dead: bool, lasting: bool, stands: bool) -> None:
        """Unload and load a model, unless somebody else did so meanwhile, or may not. dead: by what the kernel says.
        lasting: what is loaded may be as unwell as what was unloaded, and then waits longer and longer.
        stands: it answers nothing, and would neither end nor give its memory back by itself. Raises
        ServerLost where that did not help and the server is ours."""
        if lasting and time.monotonic() - self.back.get(name, 0.0) > VAIN_S + self._pace.hang_s:
            self._vain.pop(name, None)
        if lasting and self._owned and self._vain[name] >= MOST_VAIN:
            raise ServerLost(f"{name} was loaded again {self._vain[name]} times, and is lost again: {reason}")
        await asyncio.sleep(random.uniform(0, JITTER_S))
        # Last of all: what is on its way now is another watcher's care, and so is what has been.
        state = (await self._client.repository(self._pace.state_s)).get(name)
        if state in ON_THEIR_WAY:
            return
        if dead and self._instances is not None and not await self._instances.lacking([name]):
            return
        logger.error("%s is lost: %s; it is loaded again", name, reason)
        started = time.monotonic()
        try:
            if state == READY:
                await self._unload(name, stands=stands)
            await self._client.load(name, self._pace.load_s)
        except (TritonRefused, TritonUnavailable) as error:
            self._failed(name, error)
            return
        self.healed[name] += 1
        self._is_back(name)
        if lasting:
            self._vain[name] += 1
            self._not_before[name] = time.monotonic() + min(MOST_PAUSE_S, 2.0 ** self._vain[name])
        logger.warning("%s is back after %.1f s", name, time.monotonic() - started)

    async def _unload(self, name: str, *, stands: bool) -> None:
        """Nobody is killed of a model that cannot be loaded again, because it is somebody else's care."""
        if self._instances is None:
            await self._client.unload(name, alone=True)
            return
        standing = await self._instances.standing(name) if stands else []
        await self._client.unload(name, alone=True)
        for one in standing:
            kill(*one)
        self._instances.retire(name)

    def _failed(self, name: str, error: TritonRefused | TritonUnavailable) -> None:
        if CONTROL_REFUSED in str(error) or isinstance(error, ControlRefused):
            self.forbid(str(error))
            return
        self._failures[name] += 1
        if self._owned and self._failures[name] >= MOST_FAILURES:
            raise ServerLost(f"{name} could not be loaded again {self._failures[name]} times: {error}") from error
        pause_s = min(MOST_PAUSE_S, 2.0 ** self._failures[name])
        self._not_before[name] = time.monotonic() + pause_s
        logger.error("%s cannot be loaded again, which is tried once more in %.0f s: %s", name, pause_s, error)
