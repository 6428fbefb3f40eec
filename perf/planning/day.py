"""A day of live sessions, as arrivals: more in the daytime than at night, some bursts, and sessions of minutes."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

DAY_S = 86_400.0
# Of the peak, what comes at the quietest hour; and the hour of the peak.
NIGHT, PEAK_HOUR = 0.3, 15.0
BURSTS, BURST_S, BURST_TIMES = 6, 300.0, 2.5
SHORTEST_S = 10.0


@dataclass(frozen=True)
class Day:
    """peak: sessions at a time that the curve comes to, without bursts. session_s: how long one lasts on average.
    hours: of the day, from midnight."""

    peak: float
    session_s: float = 600.0
    hours: float = 24.0

    @property
    def seconds(self) -> float:
        return 3_600 * self.hours

    def share(self, at_s: float) -> float:
        """Of the peak, by the time of the day."""
        phase = math.cos(2 * math.pi * (at_s / 3_600 - PEAK_HOUR) / 24)
        return NIGHT + (1 - NIGHT) * (0.5 + 0.5 * phase)

    def arrivals(self, rng: random.Random) -> Iterator[tuple[float, float]]:
        """Seconds of the day at which a session begins, in order, and how long it lasts: a Poisson process whose rate
        follows the curve, by thinning one of the peak's rate. The day begins with as many as are there at midnight."""
        bursts = sorted(rng.uniform(0, self.seconds) for _ in range(round(BURSTS * self.hours / 24)))
        for _ in range(round(self.peak * self.share(0.0))):
            yield 0.0, self._length(rng)
        most, at = self.peak / self.session_s, 0.0
        while True:
            in_burst = any(begins <= at < begins + BURST_S for begins in bursts)
            at += rng.expovariate(most * BURST_TIMES if in_burst else most)
            if at >= self.seconds:
                return
            if rng.random() < self.share(at):
                yield at, self._length(rng)

    def _length(self, rng: random.Random) -> float:
        return SHORTEST_S + rng.expovariate(1 / (self.session_s - SHORTEST_S))
