"""What the processes of a stage hold: memory, descriptors, threads, and segments of shared memory."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import psutil

from perf.chaos.stage import Stage, shared_memory


@dataclass(frozen=True)
class Count:
    """Of the processes of one name. memory_mb: what they would give back (USS)."""

    pids: frozenset[int]
    memory_mb: float
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Census:
    """processes: by what they are, see Stage.processes. segments: files in the stage's shared memory, and their MB."""

    processes: dict[str, Count]
    segments: int
    segments_mb: float

    def gone(self, later: Census) -> list[str]:
        """What has ended, or has been started anew, until then."""
        return sorted(name for name, count in self.processes.items() if not count.pids <= later.pids)

    def rows(self, later: Census) -> list[dict[str, object]]:
        """What each process has more then, as a table for people."""
        rows: list[dict[str, object]] = []
        for name, count in self.processes.items():
            then = later.processes.get(name)
            if then is not None:
                rows.append(
                    {
                        "process": name,
                        "MB": f"{count.memory_mb:.1f}",
                        "more MB": f"{then.memory_mb - count.memory_mb:+.1f}",
                        "more descriptors": then.descriptors - count.descriptors,
                        "more threads": then.threads - count.threads,
                    }
                )
        return rows

    @property
    def pids(self) -> frozenset[int]:
        return frozenset().union(*(count.pids for count in self.processes.values()))


def census(stage: Stage) -> Census:
    """Now. Raises psutil.Error where the frontend itself is gone."""
    found: dict[str, Count] = {}
    for name, processes in stage.processes().items():
        # What ends while it is looked at is not counted; whoever compares sees that it is gone.
        with contextlib.suppress(psutil.Error):
            found[name] = Count(
                frozenset(one.pid for one in processes),
                sum(one.memory_full_info().uss for one in processes) / 1e6,
                sum(one.num_fds() for one in processes),
                sum(one.num_threads() for one in processes),
            )
    sizes = []
    with contextlib.suppress(OSError):
        sizes = [path.stat().st_size for path in stage.inside(shared_memory()).iterdir()]
    return Census(found, len(sizes), sum(sizes) / 1e6)
