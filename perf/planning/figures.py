"""What a day of several servers comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Figures:
    """begun: sessions. lost: those that found no server in their patience. moved: to another server, after a fault or
    from one that was drained. failed_attempts: servers that were asked and were gone. waits_ms: by the partials'
    delay, sessions that had it. short: seconds in which there were more sessions than the servers hold, and behind: in
    which there were more than the scaler wants them to have."""

    begun: int = 0
    lost: int = 0
    moved_by_faults: int = 0
    moved_by_drains: int = 0
    failed_attempts: int = 0
    gaps_s: list[float] = field(default_factory=list)
    means: list[float] = field(default_factory=list)
    fullest: list[float] = field(default_factory=list)
    spreads: list[float] = field(default_factory=list)
    waits_ms: Counter[int] = field(default_factory=Counter)
    short_s: float = 0.0
    behind_s: float = 0.0
    longest_behind_s: float = 0.0
    server_s: float = 0.0
    ideal_server_s: float = 0.0

    def gap(self, seconds: float) -> None:
        """So long a session had no server."""
        self.gaps_s.append(seconds)

    def shares(self, mean: float, fullest: float, spread: float) -> None:
        """Sessions a server on average, of the fullest over that, and what lies between fullest and emptiest."""
        self.means.append(mean)
        self.fullest.append(fullest)
        self.spreads.append(spread)

    def was_behind(self, seconds: float) -> None:
        self.behind_s += seconds
        self.longest_behind_s = max(self.longest_behind_s, seconds)

    def wait_ms(self, percent: float) -> float:
        """The delay that so many percent of sessions' moments have at most."""
        left = percent / 100 * self.waits_ms.total()
        for wait, count in sorted(self.waits_ms.items()):
            left -= count
            if left <= 0:
                return float(wait)
        return 0.0


def percentile(values: Sequence[float], percent: float) -> float:
    """0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(percent / 100 * len(ordered)))] if ordered else 0.0
