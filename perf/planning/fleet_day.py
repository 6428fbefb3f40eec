"""A day of several servers, played event by event: arrivals, faults, drains, a rolling restart, and a scaler.

The balancer is the frontend's own (`frontend/triton/balancer.py`), one a frontend; time and dice are the simulation's.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from frontend.triton.balancer import DRAWN, LIVE
from frontend.triton.fleet import LOST_S, PATIENCE_S, TEND_S
from frontend.triton.lasting_session import PATIENCE_S as SESSION_PATIENCE_S
from frontend.triton.lasting_session import RETRY_FIRST_S
from frontend.triton.lookups import EVERY_S
from perf.planning.day import Day
from perf.planning.figures import Figures
from perf.planning.scaler import Scaler
from perf.planning.simulated import Clock, Frontend, Session, SimulatedServer, look_s

# A server fails once in so long; half of the time it is killed, which its clients hear at once, half of the time its
# machine vanishes, which is seen at the next look and a moment later. Another one is started after that.
FAILS_EVERY_S = 5 * 86_400.0
SEEN_AFTER_S = 2.0 + LOST_S
REPLACED_AFTER_S = 30.0
# A rolling restart at this hour, of so many at a time, each replaced before it is drained.
ROLL_HOUR, ROLL_SHARE = 10.0, 0.02
# Of sessions that are to leave, those that are at rest at that moment; the others come to it later.
RESTING, TO_REST_S = 0.4, 4.0
SAMPLE_S, SAMPLED = 60.0, 100
# A frontend for so many servers, and two at least.
SERVERS_A_FRONTEND = 20


@dataclass(frozen=True)
class Scene:
    """servers: that the peak of the day needs. capacity: streams that a server holds in time, and target: that the
    scaler wants it to have. wait_s: how late partials are at p95, by the streams of a server."""

    servers: int
    capacity: int
    wait_s: Callable[[int], float]
    target: float = 0.7
    drawn: int = DRAWN
    hours: float = 24.0
    session_s: float = 600.0
    seed: int = 0

    @property
    def frontends(self) -> int:
        return max(2, self.servers // SERVERS_A_FRONTEND)


class FleetDay:
    """`run` plays it."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._rng = random.Random(scene.seed)
        self._clock = Clock()
        wanted = scene.target * scene.capacity
        self._day = Day(scene.servers * wanted, scene.session_s, scene.hours)
        self._scaler = Scaler(wanted, max(2, scene.servers // 10), 2 * scene.servers)
        self._frontends = [
            Frontend(random.Random(f"{scene.seed} {number}"), scene.drawn) for number in range(scene.frontends)
        ]
        self._servers: dict[str, SimulatedServer] = {}
        self._names = map("s{}".format, itertools.count())
        self._events: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._num_sessions = 0
        self._to_roll: list[SimulatedServer] = []
        self._rolled: set[SimulatedServer] = set()
        self._behind_since: float | None = None
        self._figures = Figures()

    def run(self) -> Figures:
        for _ in range(max(2, math.ceil(self._scene.servers * self._day.share(0.0)))):
            self._ready(self._added())
        arrivals = self._day.arrivals(self._rng)
        self._arrive(arrivals)
        self._at(self._scaler.every_s, self._scale)
        self._at(SAMPLE_S, self._sample)
        self._at(ROLL_HOUR * 3_600, self._roll)
        while self._events and self._events[0][0] <= self._day.seconds:
            self._clock.now, _, do, given = heapq.heappop(self._events)
            do(*given)
        if self._behind_since is not None:
            self._figures.was_behind(self._day.seconds - self._behind_since)
        return self._figures

    def _at(self, when: float, do: Callable[..., object], *given: Any) -> None:
        heapq.heappush(self._events, (when, next(self._order), do, given))

    def _after(self, seconds: float, do: Callable[..., object], *given: Any) -> None:
        self._at(self._clock.now + seconds, do, *given)

    # Sessions.

    def _arrive(self, arrivals: Iterator[tuple[float, float]]) -> None:
        """The next one, and with it the one after it."""
        found = next(arrivals, None)
        if found is not None:
            self._at(found[0], self._begin, found[1], arrivals)

    def _begin(self, seconds: float, arrivals: Iterator[tuple[float, float]]) -> None:
        self._figures.begun += 1
        self._num_sessions += 1
        session = Session(self._rng.choice(self._frontends), self._clock.now + seconds)
        self._after(seconds, self._end, session)
        self._place(session)
        self._arrive(arrivals)

    def _place(self, session: Session) -> None:
        now = self._clock.now
        if session.ends <= now:
            return
        standing = session.frontend.choose(now)
        server = self._servers.get(standing.name) if standing is not None else None
        if standing is not None and server is not None and server.state in ("ready", "draining"):
            standing.begin(LIVE)
            server.take(session)
            session.standing, session.server = standing, server
            if session.lost_at:
                self._figures.gap(now - session.lost_at)
                session.lost_at = 0.0
            return
        if standing is not None:
            standing.failed(now)
            self._figures.failed_attempts += 1
        session.lost_at = session.lost_at or now
        if now - session.lost_at > SESSION_PATIENCE_S:
            self._figures.lost += 1
            self._num_sessions -= 1
            session.ends = now
            return
        self._after(RETRY_FIRST_S, self._place, session)

    def _end(self, session: Session) -> None:
        if session.ends == self._clock.now:
            self._num_sessions -= 1
            self._leave(session)

    def _leave(self, session: Session) -> SimulatedServer | None:
        server = session.server
        if server is not None and session.standing is not None:
            session.standing.end(LIVE)
            server.drop(session)
            session.server = session.standing = None
            if server.state == "draining" and not server.sessions_of:
                self._stop(server)
        return server

    def _move(self, session: Session, server: SimulatedServer, lost_at: float) -> None:
        if session.server is server and session.ends > self._clock.now:
            self._leave(session)
            session.lost_at = lost_at or self._clock.now
            self._after(RETRY_FIRST_S, self._place, session)

    # Servers.

    def _added(self) -> SimulatedServer:
        seconds = look_s(self._scene.servers)
        server = SimulatedServer(next(self._names), self._clock, seconds, self._rng.random())
        self._servers[server.name] = server
        return server

    def _start(self) -> SimulatedServer:
        server = self._added()
        self._after(self._scaler.boot_s + self._rng.uniform(0, EVERY_S), self._ready, server)
        return server

    def _ready(self, server: SimulatedServer) -> None:
        if server.state != "starting":
            return
        server.become("ready")
        for frontend in self._frontends:
            frontend.name(server)
        self._after(self._rng.expovariate(1 / FAILS_EVERY_S), self._fail, server)
        if server in self._rolled and self._to_roll:
            self._rolled.discard(server)
            self._drain(self._to_roll.pop())
            self._roll_on()

    def _fail(self, server: SimulatedServer) -> None:
        if server.state not in ("ready", "draining"):
            return
        server.become("dead")
        now, vanished = self._clock.now, self._rng.random() < 0.5
        sessions = sorted(server.sessions_of, key=lambda one: one.ends)
        self._figures.moved_by_faults += len(sessions)
        for session in sessions:
            late_s = self._rng.uniform(0, look_s(self._scene.servers) + 2.0) + SEEN_AFTER_S if vanished else 0.0
            self._after(late_s, self._move, session, server, now)
        self._after(REPLACED_AFTER_S, self._forget, server)
        self._after(REPLACED_AFTER_S, self._start)

    def _drain(self, server: SimulatedServer) -> None:
        if server.state != "ready":
            return
        server.become("draining")
        for frontend in self._frontends:
            frontend.drain(server)
        sessions = sorted(server.sessions_of, key=lambda one: one.ends)
        self._figures.moved_by_drains += len(sessions)
        for session in sessions:
            late_s = self._rng.uniform(0, EVERY_S) + self._rng.uniform(0, 8 * TEND_S)
            if self._rng.random() > RESTING:
                late_s += min(PATIENCE_S, self._rng.expovariate(1 / TO_REST_S))
            self._after(late_s, self._move, session, server, 0.0)
        if not sessions:
            self._stop(server)

    def _stop(self, server: SimulatedServer) -> None:
        server.become("stopped")
        self._forget(server)

    def _forget(self, server: SimulatedServer) -> None:
        if self._servers.pop(server.name, None) is not None:
            for frontend in self._frontends:
                frontend.forget(server)

    def _roll(self) -> None:
        self._to_roll = self._in_state("ready")
        for _ in range(max(1, round(ROLL_SHARE * len(self._to_roll)))):
            self._roll_on()

    def _roll_on(self) -> None:
        if len(self._rolled) < len(self._to_roll):
            self._rolled.add(self._start())

    def _in_state(self, *states: str) -> list[SimulatedServer]:
        return [one for one in self._servers.values() if one.state in states]

    # What is watched.

    def _scale(self) -> None:
        now, ready = self._clock.now, self._in_state("ready")
        rolled = len(self._rolled)
        count = len(self._in_state("ready", "starting")) - rolled
        wanted = self._scaler.wanted(now, self._num_sessions, len(ready), count)
        for _ in range(wanted - count):
            self._start()
        for server in self._rng.sample(ready, min(len(ready) - 1, max(0, count - wanted))):
            self._drain(server)
        every_s = self._scaler.every_s
        if self._num_sessions > self._scene.capacity * len(ready):
            self._figures.short_s += every_s
        is_behind = self._num_sessions > (1 + self._scaler.tolerance) * self._scaler.target * len(ready)
        if is_behind and self._behind_since is None:
            self._behind_since = now
        elif not is_behind and self._behind_since is not None:
            self._figures.was_behind(now - self._behind_since)
            self._behind_since = None
        self._figures.server_s += every_s * len(self._in_state("ready", "starting", "draining"))
        self._figures.ideal_server_s += every_s * self._num_sessions / self._scaler.target
        self._after(every_s, self._scale)

    def _sample(self) -> None:
        now = self._clock.now
        ready = self._in_state("ready")
        # Who came a moment ago fills up as sessions come.
        grown = [len(one.sessions_of) for one in ready if now - one.ready_since > self._scene.session_s]
        mean = statistics.fmean(grown) if grown else 0.0
        if mean and len(grown) > 1:
            self._figures.shares(mean, max(grown) / mean, (max(grown) - min(grown)) / mean)
        waits: Counter[int] = Counter()
        for server in self._rng.sample(ready, min(SAMPLED, len(ready))):
            waits[round(1_000 * self._scene.wait_s(len(server.sessions_of)))] += len(server.sessions_of)
        self._figures.waits_ms.update(waits)
        self._after(SAMPLE_S, self._sample)
