"""What `perf plan --servers` says: a row for each size, and for each way to choose."""

from __future__ import annotations

import functools
import time
from typing import Any

from export.sizing.dimensions import SIZES
from export.sizing.gpus import GPUS
from perf.planning.cost_model import simulate
from perf.planning.costs import read_costs
from perf.planning.figures import percentile
from perf.planning.fleet_day import FleetDay, Scene
from perf.planning.limits import BUSY, LiveLoad, streams

# What the servers are.
MODEL, CARD = "1.7b", "rtx4090"
WAIT_S = 6.0


def fleet_rows(
    sizes: list[int], drawn: list[int], interval_s: float, cores: int, seed: int, hours: float
) -> list[dict[str, Any]]:
    """A day with each of these numbers of servers, the least loaded of so many drawn being asked."""
    costs, load = read_costs(), LiveLoad(interval_s=interval_s)
    capacity = streams(GPUS[CARD], SIZES[MODEL], load, costs, cores).count
    each_s = BUSY * interval_s / capacity

    @functools.cache
    def wait_s(count: int) -> float:
        return simulate(count, 0.0, each_s, interval_s, WAIT_S) if count else 0.0

    return [
        _row(Scene(size, capacity, wait_s, drawn=number, hours=hours, seed=seed)) for size in sizes for number in drawn
    ]


def _row(scene: Scene) -> dict[str, Any]:
    began = time.monotonic()
    found = FleetDay(scene).run()
    return {
        "servers": scene.servers,
        "frontends": scene.frontends,
        "drawn": scene.drawn,
        "sessions": found.begun,
        "a server": percentile(found.means, 50),
        "fullest over mean": percentile(found.fullest, 50),
        "at p95": percentile(found.fullest, 95),
        "late ms p50": found.wait_ms(50),
        "late ms p95": found.wait_ms(95),
        "late ms p99": found.wait_ms(99),
        "lost": found.lost,
        "moved by faults": found.moved_by_faults,
        "by drains": found.moved_by_drains,
        "gap s p50": percentile(found.gaps_s, 50),
        "gap s p99": percentile(found.gaps_s, 99),
        "behind s": found.behind_s,
        "longest s": found.longest_behind_s,
        "short s": found.short_s,
        "servers over ideal": found.server_s / found.ideal_server_s,
        "took s": time.monotonic() - began,
    }
