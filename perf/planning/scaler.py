"""How many servers a day's load gets, with the metrics and lags of Kubernetes' horizontal autoscaler."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field


@dataclass
class Scaler:
    """target: sessions a server that are wanted. every_s: between two looks; lag_s: age of what is looked at (a scrape,
    an average, a poll); boot_s: until a new server is asked; window_s: the most that was wanted within it is kept when
    there are to be fewer. tolerance: a share by which nothing is changed; the most is doubled at a time, or four
    more."""

    target: float
    least: int
    most: int
    every_s: float = 15.0
    lag_s: float = 30.0
    boot_s: float = 150.0
    window_s: float = 300.0
    tolerance: float = 0.1
    _wanted: deque[tuple[float, int]] = field(default_factory=deque)
    _told: deque[tuple[float, float, int]] = field(default_factory=deque)

    def wanted(self, now: float, sessions: int, ready: int, count: int) -> int:
        """Servers that there are to be. sessions, ready: of now, which is seen later; count: those that are there or
        starting."""
        self._told.append((now, float(sessions), ready))
        while len(self._told) > 1 and self._told[1][0] <= now - self.lag_s:
            self._told.popleft()
        _, seen, of = self._told[0]
        ratio = seen / max(1, of) / self.target
        raw = count if abs(ratio - 1) <= self.tolerance else math.ceil(max(1, of) * ratio)
        if ratio > 1 and of < count:
            # Those that are starting carry nothing yet, and will.
            raw = max(count, math.ceil(seen / self.target))
        raw = min(raw, max(2 * count, count + 4))
        self._wanted.append((now, raw))
        while self._wanted[0][0] < now - self.window_s:
            self._wanted.popleft()
        kept = raw if raw >= count else min(count, max(wanted for _, wanted in self._wanted))
        return max(self.least, min(self.most, kept))
