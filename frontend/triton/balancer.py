"""Which of several servers is asked next.

Work is given to the least loaded of a few that are drawn at random: of a handful all are drawn, which is exact; of
hundreds some are, so that several frontends, who know of each other only by what the servers say, do not all run to the
one that was least loaded a moment ago. Nothing here waits, reads a clock or rolls dice of its own: the simulation
(`perf/planning`) drives the same code.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Protocol

from frontend.triton import outliers
from frontend.triton.outliers import Record

# Kinds of work: a segment of a file, or anything else that is answered within seconds; and a session that stays.
FILE, LIVE = "file", "live"
DRAWN = 5
# Draws for each of them: some of those that are drawn are not well, or were drawn before.
DRAWS = 4
# A live session keeps a server as busy as this many segments at a time (perf/README.md: with tiny 51 sessions, or some
# 16 segments at a time, are what a server holds).
SESSION_SHARE = 0.25
# Who said that it has no place is asked again after so long; and by sessions that have a place elsewhere, and would
# give it up for one here, only after so long.
FULL_S, FULL_FOR_MOVED_S = 1.0, 60.0
# From those that are asked first to those that are asked where there is nobody else.
GOOD, FULL, ASIDE, UNWELL = range(4)


class Seen(Protocol):
    """What was last seen of a server: whether it can answer, and what it has under way in all, of everybody. number:
    goes up with each look; reports: with each time that it told how much of a kind it has under way."""

    @property
    def well(self) -> bool: ...

    @property
    def sessions(self) -> int: ...

    @property
    def segments(self) -> int: ...

    @property
    def number(self) -> int: ...

    def reports(self, kind: str) -> int: ...


class Alone:
    """Of a server that nobody looks at."""

    well, sessions, segments, number = True, 0, 0, 0

    def reports(self, kind: str) -> int:
        return 0


class Standing:
    """What one balancer knows of one server: what was seen of it, and what it has under way there itself."""

    def __init__(self, name: str, weight: float = 1.0, seen: Seen | None = None) -> None:
        self.name = name
        self.weight = weight
        # Whoever differs from the others is not asked, also where nobody else is well.
        self.barred = False
        self.seen: Seen = seen or Alone()
        self.record = Record()
        # Under way, and begun since the start.
        self.own = {FILE: 0, LIVE: 0}
        self.begun = {FILE: 0, LIVE: 0}
        # Change of `own` since the report of this number.
        self._since = {FILE: 0, LIVE: 0}
        self._since_report = {FILE: 0, LIVE: 0}
        self._doubted = -1
        # When it last had no place.
        self._full_at = {FILE: -math.inf, LIVE: -math.inf}
        # Called after each answer, to compare it with the others.
        self.judge: Callable[[Standing, float], None] = lambda *_: None

    def begin(self, kind: str) -> None:
        self._fresh(kind)
        self.own[kind] += 1
        self.begun[kind] += 1
        self._since[kind] += 1

    def end(self, kind: str) -> None:
        self._fresh(kind)
        self.own[kind] -= 1
        self._since[kind] -= 1

    def answered(self, kind: str, late_s: float | None, now: float) -> None:
        """late_s: how late, in a measure that is the same for the same work; None where there is none."""
        self.record.answered(kind, late_s, now)
        self.judge(self, now)

    def failed(self, now: float) -> None:
        """What it was asked did not come to an answer: it is not asked again until somebody has looked at it."""
        self._doubted = self.seen.number
        self.record.failed(now)
        self.judge(self, now)

    def full(self, kind: str, now: float) -> None:
        """It said that it has no place for work of this kind."""
        self._full_at[kind] = now

    def may_take_moved(self, now: float) -> bool:
        """Whether a live session may leave its place elsewhere for one here."""
        return self.rank(LIVE, now) == GOOD and now - self._full_at[LIVE] >= FULL_FOR_MOVED_S

    def rank(self, kind: str, now: float) -> int:
        """GOOD, FULL, ASIDE or UNWELL."""
        if not self.seen.well or (self._doubted >= 0 and self._doubted == self.seen.number):
            return UNWELL
        if self.record.aside_until > now:
            return ASIDE
        return FULL if now - self._full_at[kind] < FULL_S else GOOD

    def under_way(self, kind: str) -> int:
        """Of everybody, as far as is known: what this balancer has there, and what the server had beside that."""
        self._fresh(kind)
        own, told = self.own[kind], self.seen.sessions if kind == LIVE else self.seen.segments
        others = told - own + self._since[kind]
        return own + others if others > 0 else own

    def load(self, kind: str) -> tuple[float, float]:
        """To compare with that of others, for one more of this kind. Sessions stay for minutes and files come and go,
        so that sessions are spread by their number, and files find the place that is left."""
        sessions, segments = self.under_way(LIVE), self.under_way(FILE)
        busy = (segments + 1 + SESSION_SHARE * sessions) / self.weight
        return ((sessions + 1) / self.weight, busy) if kind == LIVE else (busy, 0.0)

    def _fresh(self, kind: str) -> None:
        if (report := self.seen.reports(kind)) != self._since_report[kind]:
            self._since_report[kind] = report
            self._since[kind] = 0


class Balancer:
    """The servers there are. `choose` never waits."""

    def __init__(
        self, rng: random.Random, aside: Callable[[Standing, str], None] = lambda *_: None, drawn: int = DRAWN
    ) -> None:
        """rng: what is drawn with. aside: told of each server that is set aside, and why. drawn: how many at a time."""
        self._rng = rng
        self._aside = aside
        self._num_drawn = drawn
        self._standings: dict[str, Standing] = {}
        # Those to draw from, as they were last; None: somebody has come, gone, or another weight.
        self._weighted: list[Standing] | None = None

    def put(self, standing: Standing) -> None:
        """Add a server, or note that its weight has changed, or whether it is barred."""
        standing.judge = self._judge
        self._standings[standing.name] = standing
        self._weighted = None

    def remove(self, name: str) -> None:
        self._standings.pop(name, None)
        self._weighted = None

    def choose(self, kind: str, now: float) -> Standing | None:
        """The one to ask; None where there is none, or all are drained. Where nobody is well somebody is asked all the
        same: what was seen may be old by now."""
        return self.least(self.draw(kind, now), kind, now)

    def has_room_beside(self, name: str, kind: str, now: float) -> bool:
        """Whether anybody else can be asked."""
        return any(one.rank(kind, now) == GOOD for one in self._all() if one.name != name)

    def may_move_from(self, name: str, now: float) -> bool:
        """Whether anybody else may take live sessions from there."""
        return any(one.may_take_moved(now) for one in self._all() if one.name != name)

    def draw(self, kind: str, now: float) -> list[Standing]:
        """Some of those that are best to ask, in random order, which decides between equal ones."""
        weighted, most = self._all(), self._num_drawn
        if len(weighted) < 2:
            return weighted
        if len(weighted) > most:
            drawn: dict[str, Standing] = {}
            for _ in range(DRAWS * most):
                one = weighted[int(self._rng.random() * len(weighted))]
                if one.name not in drawn and one.rank(kind, now) == GOOD:
                    drawn[one.name] = one
                    if len(drawn) == most:
                        break
            if drawn:
                return [*drawn.values()]
        ranks = {one.name: one.rank(kind, now) for one in weighted}
        best = min(ranks.values())
        good = [one for one in weighted if ranks[one.name] == best]
        return self._rng.sample(good, min(most, len(good)))

    def least(self, drawn: Sequence[Standing], kind: str, now: float) -> Standing | None:
        """Of those that were drawn, as they are by now, the one to ask."""
        if len(drawn) < 2:
            return drawn[0] if drawn else None
        return min(drawn, key=lambda one: (one.rank(kind, now), *one.load(kind)))

    def _all(self) -> list[Standing]:
        if self._weighted is None:
            self._weighted = [one for one in self._standings.values() if one.weight > 0 and not one.barred]
        return self._weighted

    def _judge(self, standing: Standing, now: float) -> None:
        if len(self._all()) < 2 or not standing.record.is_due(now):
            return
        records = {one.name: one.record for one in self._all()}
        if standing.name in records and (reason := outliers.judge(records, standing.name, now)):
            self._aside(standing, reason)
