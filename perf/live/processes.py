"""What a service's processes and threads have used of the processors, by the part of it that they are."""

from __future__ import annotations

import contextlib
import os
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SERVER, FRONTEND, STUB = "tritonserver", "frontend", "triton_python_backend_stub"
# Seconds that the decoder's engine has spent in the network.
NETWORK = "asr_decoder_network_cpu_seconds_total{"
# By part, or by thread.
Seconds = dict[Any, float]


@dataclass
class Used:
    """Seconds of processor time so far: of each part, how many processes it is, and of each of the server's threads."""

    parts: Seconds = field(default_factory=dict)
    processes: Counter[str] = field(default_factory=Counter)
    threads: Seconds = field(default_factory=dict)
    network_s: float = 0.0

    def since(self, before: Used) -> Used:
        """What was used after `before`."""
        parts = {name: seconds - before.parts.get(name, 0.0) for name, seconds in self.parts.items()}
        threads = {number: seconds - before.threads.get(number, 0.0) for number, seconds in self.threads.items()}
        return Used(parts, self.processes, threads, self.network_s - before.network_s)

    @property
    def alone_s(self) -> dict[str, float]:
        """Seconds of what there can be only one of: the decoder's interpreter without the network's arithmetic, and the
        busiest thread of the server, whose threads are native. Everything else can run several times."""
        return {
            "decoder": self.parts["decoder"] - self.network_s,
            "tritonserver_thread": max(self.threads.values(), default=0.0),
        }


def used(pid: int) -> Used:
    """By a process and all that it has started."""
    found = Used()
    service = psutil.Process(pid)
    for process in (service, *service.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            arguments = process.cmdline()
            part = _part(arguments)
            times = process.cpu_times()
            found.parts[part] = found.parts.get(part, 0.0) + times.user + times.system
            found.processes[part] += 1
            if part == SERVER:
                found.threads = _threads(process.pid)
                found.network_s = _network_s(arguments)
    return found


def _part(arguments: list[str]) -> str:
    """The room that a model's process is, or what else it is of the service."""
    program = Path(arguments[0]).name if arguments else ""
    if program == STUB:
        # …/ROOM/VERSION/model.py
        return Path(next(one for one in arguments if one.endswith("model.py"))).parts[-3]
    return SERVER if program == SERVER else FRONTEND


def _threads(pid: int) -> Seconds:
    spent: Seconds = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        spent[int(task.name)] = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return spent


def _network_s(arguments: list[str]) -> float:
    """Of all decoders, as the server tells it."""
    port = next(one.partition("=")[2] for one in arguments if one.startswith("--metrics-port="))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(NETWORK))
