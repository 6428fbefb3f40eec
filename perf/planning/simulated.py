"""Servers and frontends as a simulation has them: the frontends' balancer is the one that serves."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from frontend.triton.balancer import LIVE, Balancer, Standing
from frontend.triton.fleet import FRESH_S, LOOK_EACH_S
from frontend.triton.pace import Pace


@dataclass
class Clock:
    now: float = 0.0


@dataclass(eq=False)
class Session:
    """One live stream: the frontend that it came to, where it is now, and when it ends."""

    frontend: Frontend
    ends: float
    standing: Standing | None = None
    server: SimulatedServer | None = None
    # When its server was lost, while it has none.
    lost_at: float = 0.0


class SimulatedServer:
    """What is seen of it is as old as the last look, of all frontends at the same time."""

    def __init__(self, name: str, clock: Clock, look_s: float, phase: float) -> None:
        self.name = name
        self.sessions_of: set[Session] = set()
        self.state = "starting"
        self.ready_since = 0.0
        self._clock = clock
        self._look_s = look_s
        self._number = 0
        self.looked_at = -math.inf
        self._next_look = clock.now + phase * look_s
        self._seen_well, self._seen_sessions = False, 0
        self._well = False

    # What the balancer sees.

    @property
    def number(self) -> int:
        self._look()
        return self._number

    @property
    def well(self) -> bool:
        self._look()
        return self._seen_well

    @property
    def sessions(self) -> int:
        self._look()
        return self._seen_sessions

    segments = 0

    # What happens to it.

    def become(self, state: str) -> None:
        """starting, ready, draining, dead or stopped."""
        self._look()
        self.state = state
        self._well = state in ("ready", "draining")
        if state == "ready":
            self.ready_since = self._clock.now
            # Whoever hears of it looks at it at once.
            self._seen_well = True

    def take(self, session: Session) -> None:
        self._look()
        self.sessions_of.add(session)

    def drop(self, session: Session) -> None:
        self._look()
        self.sessions_of.discard(session)

    def _look(self) -> None:
        """Before anything changes: what there was since the last change is what the last look saw."""
        if self._clock.now >= self._next_look:
            looks = 1 + int((self._clock.now - self._next_look) / self._look_s)
            self._number += looks
            self._next_look += looks * self._look_s
            self.looked_at = self._next_look - self._look_s
            self._seen_well, self._seen_sessions = self._well, len(self.sessions_of)


class Asked:
    """What one frontend sees of a server: the last look, or the answer to a question of its own since."""

    segments = 0

    def __init__(self, server: SimulatedServer) -> None:
        self.server = server
        self._asks = 0
        self._at, self._sessions = -math.inf, 0

    @property
    def number(self) -> int:
        return self.server.number + self._asks

    def reports(self, _: str) -> int:
        return self.number

    @property
    def well(self) -> bool:
        return self.server.well

    @property
    def sessions(self) -> int:
        told = self.server.sessions
        return self._sessions if self._at > self.server.looked_at else told

    def age_s(self, now: float) -> float:
        return now - max(self._at, self.server.looked_at)

    def ask(self, now: float) -> bool:
        """Whether it answers."""
        if self.server.state not in ("ready", "draining"):
            return False
        self._asks += 1
        self._at, self._sessions = now, len(self.server.sessions_of)
        return True


class Frontend:
    """A balancer of its own, which knows what it gave to whom, and of the others' only what servers say."""

    def __init__(self, rng: random.Random, drawn: int) -> None:
        self.balancer = Balancer(rng, drawn=drawn)
        self.standings: dict[str, Standing] = {}
        self._seen: dict[str, Asked] = {}

    def name(self, server: SimulatedServer) -> None:
        seen = Asked(server)
        self._seen[server.name] = seen
        self.standings[server.name] = Standing(server.name, 1.0, seen)
        self.balancer.put(self.standings[server.name])

    def drain(self, server: SimulatedServer) -> None:
        standing = self.standings[server.name]
        standing.weight = 0.0
        self.balancer.put(standing)

    def forget(self, server: SimulatedServer) -> None:
        self.standings.pop(server.name, None)
        self._seen.pop(server.name, None)
        self.balancer.remove(server.name)

    def choose(self, now: float) -> Standing | None:
        """As the fleet does it (frontend/triton/fleet.py), in no time."""
        drawn = self.balancer.draw(LIVE, now)
        if len(drawn) > 1:
            for one in drawn:
                seen = self._seen[one.name]
                if seen.age_s(now) > FRESH_S and not seen.ask(now):
                    one.failed(now)
        return self.balancer.least(drawn, LIVE, now)


def look_s(servers: int) -> float:
    """Between two looks at one of so many."""
    return max(Pace().interval_s, LOOK_EACH_S * servers)
