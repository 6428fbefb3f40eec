"""The Tritons behind the frontend: which one is asked next, and who goes on elsewhere where one is lost or drained.

gRPC could balance by itself, and is not let: it chooses for a call, and a live session is one call as long as it lasts;
its least-loaded policy needs a control plane; it cannot move a session, and does not say whom it asked. So each server
has a channel of its own.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

from frontend.triton.addresses import Address
from frontend.triton.balancer import FILE, LIVE, Balancer, Standing
from frontend.triton.client import TritonClient
from frontend.triton.likeness import Likeness, differences
from frontend.triton.live_session import MODEL
from frontend.triton.server import Server

logger = logging.getLogger(__name__)

TEND_S = 0.25
# Sessions of a server that is drained leave where nothing of theirs is open, an eighth of them in each round, so that
# the others do not get them all at once; after so long they leave as they are. At first it is one in each round: where
# the others are full, they say so to few.
LEAVING_SHARE, PATIENCE_S, TRIED_S = 1 / 8, 10.0, 1.0
# Those of a server that is lost hear it by themselves, but where a machine has vanished without a word.
LOST_S = 3.0
# Looks at all servers together cost no more processor time than those at ten do at most.
LOOK_EACH_S = 0.05
# What was seen is new enough for so long; and how long a question may take where it is not.
FRESH_S, ASK_S = 1.0, 0.5


class Fleet:
    """Of one process, which shares nothing with others. With one server it does what a connection alone would."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self.balancer = Balancer(rng or random.Random(), self._aside)
        self._servers: dict[str, Server] = {}
        self._usual: Likeness | None = None
        self._drained_at: dict[str, float] = {}
        self._unwell_at: dict[str, float] = {}
        self._said: dict[str, str] = {}
        self._working: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Server]:
        return iter([*self._servers.values()])

    def __len__(self) -> int:
        return len(self._servers)

    def get(self, url: str) -> Server | None:
        return self._servers.get(url)

    @property
    def first(self) -> Server | None:
        """One that can answer, else one that there is."""
        servers = sorted(self._servers.values(), key=lambda one: (one.is_drained, not one.well))
        return servers[0] if servers else None

    @property
    def is_well(self) -> bool:
        """Whether anybody that takes work can answer."""
        return any(one.well and not one.is_drained for one in self._servers.values())

    def choose(self, kind: str) -> TritonClient | None:
        """Whom to ask for work of this kind; None where there is nobody, or all are drained."""
        standing = self.balancer.choose(kind, time.monotonic())
        return self._servers[standing.name].client if standing is not None else None

    async def choose_live(self) -> TritonClient | None:
        """The same for a live session, which stays for minutes: of the servers that are drawn those that nobody has
        looked at lately, as where there are hundreds, are asked how many sessions they have."""
        drawn = self.balancer.draw(LIVE, time.monotonic())
        if len(drawn) > 1:
            now = time.monotonic()
            servers = [self._servers[one.name] for one in drawn]
            asking = [self._in_background(one.ask(ASK_S)) for one in servers if now - one.seen_at > FRESH_S]
            if asking:
                await asyncio.wait(asking, timeout=ASK_S)
                drawn = [one for one in drawn if one.name in self._servers and one.weight > 0 and not one.barred]
        standing = self.balancer.least(drawn, LIVE, time.monotonic())
        return self._servers[standing.name].client if standing is not None else None

    def add(self, server: Server) -> None:
        """In the place of another one of the same address, which is closed."""
        self.remove(server.url)
        self._servers[server.url] = server
        self._compare_them()
        self.balancer.put(server.standing)
        server.on_look = self._looked
        server.client.has_room_beside = lambda kind: self.has_room_beside(server.url, kind)

    def remove(self, url: str) -> None:
        """Close its connection, whatever is under way."""
        server = self._servers.pop(url, None)
        if server is None:
            return
        self._compare_them()
        self.balancer.remove(url)
        self._drained_at.pop(url, None)
        self._unwell_at.pop(url, None)
        self._said.pop(url, None)
        self._in_background(server.close())

    def name(self, addresses: Sequence[Address]) -> list[Address]:
        """These are the servers from now on: returns those that are new and to be added. What is named no more, or with
        the weight 0, is drained."""
        named = {address.url: address for address in addresses}
        for server in self:
            address = named.get(server.url)
            if address is None and not server.leaving:
                # What goes from now on is meant to go.
                self._in_background(server.look_away())
            if address is not None and server.leaving:
                server.look_again()
            server.leaving = address is None
            server.address = address or server.address
            self._weigh(server, address.weight if address is not None else 0.0)
        return [address for url, address in named.items() if url not in self._servers]

    def has_room_beside(self, url: str, kind: str) -> bool:
        """Whether another one can take work of this kind."""
        return self.balancer.has_room_beside(url, kind, time.monotonic())

    async def tend(self) -> None:
        """Send sessions on from those that are lost or drained, as long as this runs."""
        while True:
            now = time.monotonic()
            for server in self:
                self._tend(server, now)
            await asyncio.sleep(TEND_S)

    async def close(self) -> None:
        for url in [*self._servers]:
            self.remove(url)
        if self._working:
            await asyncio.wait([*self._working])

    def _tend(self, server: Server, now: float) -> None:
        renewals = server.client.renewals
        num = renewals.num_waiting(MODEL)
        most = math.ceil(num * LEAVING_SHARE)
        if server.is_drained:
            self._unwell_at.pop(server.url, None)
            since = self._drained_at.setdefault(server.url, now)
            if num and self.balancer.may_move_from(server.url, time.monotonic()):
                at_rest = now - since < PATIENCE_S
                most = 1 if now - since < TRIED_S else most
                renewals.send_away(MODEL, "its server is drained", most, at_rest=at_rest)
            if server.is_empty:
                self._say(server, "it is drained: nothing of ours is under way there")
                if server.leaving:
                    self.remove(server.url)
            return
        self._drained_at.pop(server.url, None)
        if server.well:
            self._unwell_at.pop(server.url, None)
            renewals.is_gone = False
        elif now - self._unwell_at.setdefault(server.url, now) > LOST_S:
            # A model that is loaded again is worth waiting for; a machine that is silent tells nobody that it is gone.
            renewals.is_gone = not server.known.states and self.has_room_beside(server.url, FILE)
            if self.has_room_beside(server.url, LIVE):
                renewals.send_away(MODEL, "its server is lost", most)

    def _weigh(self, server: Server, weight: float) -> None:
        if server.standing.weight == weight:
            return
        server.standing.weight = weight
        self.balancer.put(server.standing)
        if weight:
            self._say(server, f"it takes {weight:g} times its part")
        else:
            self._say(server, "it is drained: nothing new goes there, and its live sessions go on elsewhere")

    def _looked(self, _: Server) -> None:
        """Compare all with each other, and look as often as so many can be looked at."""
        for server in self:
            if server.watcher is not None:
                server.watcher.stretch(LOOK_EACH_S * len(self))
        found = {one.url: one.likeness for one in self if one.known.states and not one.is_drained}
        self._usual, odd = differences(found, self._usual)
        for server in self:
            if server.odd != odd.get(server.url, ""):
                server.odd = odd.get(server.url, "")
                server.standing.barred = bool(server.odd)
                self.balancer.put(server.standing)
                self._say(server, f"it is refused: {server.odd}" if server.odd else "it is like the others")

    def _compare_them(self) -> None:
        """Where there are several, none is asked before it has told its checkpoint."""
        for server in self:
            server.is_compared = len(self) > 1

    def _aside(self, standing: Standing, reason: str) -> None:
        left_s = standing.record.aside_until - time.monotonic()
        logger.warning("Triton at %s is set aside for %.0f s: %s", standing.name, left_s, reason)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        return task

    def _say(self, server: Server, what: str) -> None:
        """Once."""
        if self._said.get(server.url) != what:
            self._said[server.url] = what
            logger.warning("Triton at %s: %s", server.url, what)
