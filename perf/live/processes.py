"""What a service's processes and threads have used of the processors, by the part of it that they are."""

from __future__ import annotations

import contextlib
import os
import urllib.request
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from frontend.triton.instances import model_of

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SERVER, FRONTEND, WORKER, WATCHER = "tritonserver", "frontend", "frontend_worker", "watcher"
PROGRAMS = {"frontend.workers.worker": WORKER, "frontend.triton.watcher": WATCHER}
# Seconds that the decoder's engine has spent in the network; of servers that tell it.
NETWORK = "asr_decoder_network_cpu_seconds_total{"
NETWORKS = "decoder"


@dataclass(frozen=True)
class Thread:
    """Of a part of the service; name: as the kernel has it."""

    part: str
    pid: int
    number: int
    name: str


@dataclass
class Used:
    """Seconds of processor time so far: of each process by (part, pid), threads that have ended included, and of each
    thread that lives."""

    processes: dict[tuple[str, int], float] = field(default_factory=dict)
    threads: dict[Thread, float] = field(default_factory=dict)
    network_s: float = 0.0

    def since(self, before: Used) -> Used:
        """What was used after `before`."""
        processes = {one: seconds - before.processes.get(one, 0.0) for one, seconds in self.processes.items()}
        threads = {one: seconds - before.threads.get(one, 0.0) for one, seconds in self.threads.items()}
        return Used(processes, threads, self.network_s - before.network_s)

    @property
    def parts(self) -> dict[str, float]:
        """Seconds by part, all of its processes together; most first."""
        found: dict[str, float] = {}
        for (part, _), seconds in self.processes.items():
            found[part] = found.get(part, 0.0) + seconds
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))

    @property
    def counts(self) -> Counter[str]:
        """Processes by part."""
        return Counter(part for part, _ in self.processes)

    def alone_s(self, single: Collection[str]) -> dict[str, float]:
        """Seconds of what is bound to one core whatever the machine: of each interpreter all threads together, of the
        decoder's without the network's arithmetic; of the server, whose threads are native, the busiest one.

        single: parts of which there can be one process alone, beside the server.
        """
        parts = self.parts
        found = {name: parts[name] for name in single if name in parts}
        if NETWORKS in found:
            found[NETWORKS] -= self.network_s
        native = [seconds for thread, seconds in self.threads.items() if thread.part == SERVER]
        return found | {f"{SERVER}_thread": max(native, default=0.0)}

    def busiest(self, count: int) -> list[tuple[Thread, float]]:
        """So many threads, the busiest first."""
        return sorted(self.threads.items(), key=lambda pair: -pair[1])[:count]


def used(pid: int) -> Used:
    """By a process and all that it has started."""
    found = Used()
    service = psutil.Process(pid)
    for process in (service, *service.children(recursive=True)):
        # What ends meanwhile is not counted.
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            arguments = process.cmdline()
            part = part_of(arguments)
            times = process.cpu_times()
            found.processes[part, process.pid] = times.user + times.system
            found.threads |= _threads(part, process.pid)
            if part == SERVER:
                found.network_s = _network_s(arguments)
    return found


def part_of(arguments: list[str]) -> str:
    """The model that a process of Triton's is, or what else it is of the service, by its command line."""
    if model := model_of(arguments):
        return model
    if arguments and Path(arguments[0]).name == SERVER:
        return SERVER
    return next((PROGRAMS[one] for one in arguments if one in PROGRAMS), FRONTEND)


def _threads(part: str, pid: int) -> dict[Thread, float]:
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # The name is in brackets and may hold anything.
            name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
            fields = rest.split()
            thread = Thread(part, pid, int(task.name), name)
            found[thread] = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return found


def _network_s(arguments: list[str]) -> float:
    """Of all decoders, as the server tells it."""
    port = next(one.partition("=")[2] for one in arguments if one.startswith("--metrics-port="))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(NETWORK))
