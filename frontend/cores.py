"""Processors that may be used, within a container's quota, and how many processes they are enough for."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
# Each process has its memory, and a thousand live streams need no more.
CORES_A_PROCESS, MOST_PROCESSES = 4, 8


def usable_cores(cgroup: Path = CGROUP) -> int:
    """At least 1."""
    # macOS has no affinity.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota(cgroup))))


def processes_for(cores: int) -> int:
    """Of the frontend, and of each model that one process would limit, where nobody says how many."""
    return min(MOST_PROCESSES, max(1, cores // CORES_A_PROCESS))


def _quota(cgroup: Path) -> float:
    """Processors by the second or first version of cgroups; inf where nothing is said."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return math.inf
    try:
        found = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return math.inf
    return found if found > 0 else math.inf
