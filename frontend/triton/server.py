"""One Triton of those behind the frontend: its connection, who looks after it, and what is known of it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from frontend.triton import probes, profiles
from frontend.triton.addresses import Address
from frontend.triton.balancer import ASIDE, FILE, LIVE, UNWELL, Standing
from frontend.triton.client import TritonClient
from frontend.triton.healing import READY, ServerLost
from frontend.triton.likeness import Likeness
from frontend.triton.live_session import MODEL
from frontend.triton.pace import Pace
from frontend.triton.watcher import Watcher

logger = logging.getLogger(__name__)

# Of connections, in the order in which they were made.
_generations = itertools.count(1)


class Known(Protocol):
    """What a watcher knows: Triton's word for each model, which models cannot answer and why, how often each was
    loaded again, and what models say of themselves, with the number of times that they have."""

    states: dict[str, str]
    unhealthy: dict[str, str]
    told: dict[str, dict[str, Any]]
    reports: Counter[str]

    @property
    def healed(self) -> Mapping[str, int]: ...


@dataclass
class Hearsay:
    """The same by somebody else's watcher, and before anybody has looked."""

    states: dict[str, str] = field(default_factory=dict)
    unhealthy: dict[str, str] = field(default_factory=dict)
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    reports: Counter[str] = field(default_factory=Counter)
    healed: Mapping[str, int] = field(default_factory=dict)


class Server:
    """`watch` begins to look, `close` ends all. What is seen of it is what the balancer goes by."""

    def __init__(
        self, address: Address, client: TritonClient, models: tuple[str, ...], healed: Counter[str] | None = None
    ) -> None:
        """models: those that it needs to answer. healed: how often each was loaded again by those who looked after it
        before, which goes on."""
        self.address = address
        self.client = client
        self.models = models
        self._healed: Counter[str] = Counter() if healed is None else healed
        self.known: Known = Hearsay(healed=self._healed)
        # Looks of whoever looks after it, questions of our own, and when the last of them was.
        self.looks = self._asks = 0
        self.seen_at = -math.inf
        # Why it is not asked although it could answer: it differs from the others.
        self.odd = ""
        # Whether there are others that it could differ from.
        self.is_compared = False
        # It was named, and is named no more.
        self.leaving = False
        self.generation = next(_generations)
        self.standing = client.standing = Standing(address.url, address.weight, self)
        # Called after each look.
        self.on_look: Callable[[Server], None] = lambda _: None
        self.watcher: Watcher | None = None
        self.watching: asyncio.Task[None] | None = None
        self._had: set[str] = set()
        self._asking: asyncio.Task[None] | None = None
        # How it is watched.
        self._pace: Pace | None = None

    @property
    def url(self) -> str:
        return self.address.url

    @property
    def number(self) -> int:
        """Goes up with each look."""
        return self.looks + self._asks

    @property
    def well(self) -> bool:
        """Whether every model that is needed can answer, and what it answers is what the others do."""
        if self.odd or not self.known.states or (self.is_compared and "decoder" not in self.known.told):
            return False
        return all(self.readiness().values())

    @property
    def sessions(self) -> int:
        """Live sessions of everybody, as it told them last."""
        return int(self.known.told.get("asr_stream", {}).get("sessions", 0))

    @property
    def segments(self) -> int:
        """Segments of files that everybody has under way there, likewise."""
        return int(self.known.told.get("decoder", {}).get("files", 0))

    def reports(self, kind: str) -> int:
        """How often it told so."""
        return self.known.reports["asr_stream" if kind == LIVE else "decoder"]

    @property
    def is_drained(self) -> bool:
        """Whether nothing new goes there."""
        return self.leaving or self.standing.weight == 0

    @property
    def is_empty(self) -> bool:
        """Whether we have nothing under way there."""
        return not any(self.standing.own.values())

    @property
    def likeness(self) -> Likeness:
        checkpoint = self.known.told.get("decoder", {}).get("checkpoint")
        return Likeness(checkpoint, self._serves(profiles.ALIGN), self._serves(profiles.SPEAKERS))

    def readiness(self) -> dict[str, bool]:
        """Which of the models that are needed can answer, as was seen last."""
        states, lost = self.known.states, self.known.unhealthy
        return {model: states.get(model) == READY and model not in lost for model in self.models}

    def has(self, model: str) -> bool:
        """Whether it serves a model that not every server has. One that is loaded again is waited for, and not
        denied."""
        return model in self.models or bool(self._serves(model))

    def state(self, now: float) -> str:
        """In one word."""
        rank = self.standing.rank(LIVE, now)
        if self.is_drained:
            return "drained" if self.is_empty else "draining"
        if self.odd:
            return "refused"
        if rank == UNWELL:
            return "lost" if self.looks else "starting"
        return "ejected" if rank == ASIDE else "ready"

    def as_told(self, now: float) -> dict[str, Any]:
        """For /health."""
        standing = self.standing
        told: dict[str, Any] = {
            "url": self.url,
            "state": self.state(now),
            "weight": standing.weight,
            "live_sessions": standing.under_way(LIVE),
            "segments": standing.under_way(FILE),
            "begun": {"live_sessions": standing.begun[LIVE], "segments": standing.begun[FILE]},
            "healed": dict(self.known.healed),
        }
        if checkpoint := self.likeness.checkpoint:
            told["checkpoint"] = checkpoint
        if self.known.unhealthy:
            told["lost"] = dict(self.known.unhealthy)
        if self.odd:
            told["refused"] = self.odd
        if standing.record.aside_until > now:
            left_s = round(standing.record.aside_until - now, 1)
            told["ejected"] = {"reason": standing.record.reason, "for_s": left_s}
        return told

    def watch(self, pace: Pace, *, owned: bool = False, pid: Callable[[], int | None] | None = None) -> None:
        """Look after its models from now on. owned: it is started anew where it is given up, and `watching` is done
        then. pid: of the server, where the processes of its models can be seen."""
        self._pace = pace
        self.watcher = self.known = Watcher(
            self.client, self.models, pace, owned=owned, server=pid, healed=self._healed
        )
        self.client.on_failure = self.watcher.suspect
        self.watching = asyncio.create_task(self._watch(self.watcher, owned=owned))

    def look_again(self) -> None:
        """It was to go, and is to stay: what it can do is found out anew."""
        if self.watching is None and self._pace is not None:
            self.watch(self._pace)

    async def look_away(self) -> None:
        """What goes from now on is meant to go."""
        watching, self.watching, self.watcher = self.watching, None, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])

    async def close(self) -> None:
        await self.look_away()
        await self.client.close()

    def looked(self) -> None:
        """Somebody has looked at it."""
        self.looks += 1
        self.seen_at = time.monotonic()
        if not self.known.states:
            # Who comes back may be another.
            self._had.clear()
        self.on_look(self)

    async def ask(self, timeout_s: float) -> None:
        """How many sessions it has now. All who ask at the same time share one question."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(timeout_s))
        await asyncio.wait([self._asking])

    async def _ask(self, timeout_s: float) -> None:
        """Who does not answer is not asked for anything until somebody has looked."""

        def hear(model: str, told: dict[str, Any]) -> None:
            self.known.told[model] = told
            self.known.reports[model] += 1

        answer = await probes.probe(self.client.stub, MODEL, timeout_s, tell=hear)
        if answer in probes.WELL:
            self._asks += 1
            self.seen_at = time.monotonic()
        else:
            self.standing.failed(time.monotonic())

    async def _watch(self, watcher: Watcher, *, owned: bool) -> None:
        said = False
        while True:
            try:
                await watcher.run(self.looked)
            except ServerLost as error:
                # The connection finds another one by itself, which is looked for as long as it takes.
                if not said or watcher.states:
                    logger.error("Triton at %s answers nothing: %s", self.url, error)
                said, watcher.states, watcher.told = True, {}, {}
                self.looked()
            if owned:
                return

    def _serves(self, model: str) -> bool | None:
        """Whether it has or had it ready; None where it does not tell of it."""
        if self.known.states.get(model) == READY:
            self._had.add(model)
        return True if model in self._had else False if model in self.known.states else None
