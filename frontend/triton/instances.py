"""The processes of models as the kernel tells them: who is dead is known at once, however long a line stands before it.

Triton asks a dead process for a second, once for each request in line, and after some deaths for ever; and a model of
several processes answers although one of them is dead. So whoever shares the processes' machine looks at them.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

logger = logging.getLogger(__name__)

PROC = Path("/proc")
PYTHON = "python"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat after the program's name, which may hold spaces.
STATE, PARENT, USER_TICKS, SYSTEM_TICKS, STARTED = 0, 1, 11, 12, 19
# Zombies, dead ones, those that somebody stopped; a debugger's (t) goes on when that does.
STOPPED, DEAD = "T", "ZXx"
NOT_LIVING = DEAD + STOPPED
# Those that have a processor, wait for one, or for a disk.
AT_WORK = "RD"
# A process that waits wakes now and then; one that computes takes more of a processor than this.
LEAST_SHARE = 0.05
# What was unloaded, and still answers somebody, waits no longer than this for another model: a step's deadline.
RETIRED_S = 30.0


@dataclass
class ModelProcess:
    """started: by the kernel's clock, so that another one of the same number is told from it. ticks: processor time
    that it has taken until `at`; active: when it was last seen to compute."""

    pid: int
    model: str
    started: str
    ticks: int
    at: float = field(default_factory=time.monotonic)
    active: float = field(default_factory=time.monotonic)

    def look(self) -> str:
        """The kernel's letter for how it is, that of a dead one where it is gone; and note whether it computes."""
        fields, now = _stat(self.pid), time.monotonic()
        if fields is None or fields[STARTED] != self.started:
            return DEAD[-1]
        ticks = _ticks(fields)
        if fields[STATE] in AT_WORK or ticks - self.ticks > LEAST_SHARE * TICKS_PER_S * (now - self.at):
            self.active = now
        self.ticks, self.at = ticks, now
        return fields[STATE]


class Instances:
    """Of the models of one server whose processes can be seen."""

    def __init__(self, server: Callable[[], int | None], wanted: Callable[[str], Awaitable[int]]) -> None:
        """server: the process id of Triton. wanted: how many processes a model has to have, 0 where it lives in the
        server's own."""
        self._server = server
        self._wanted = wanted
        self._counts: dict[str, int] = {}
        self._living: dict[int, ModelProcess] = {}
        # Of whom all processes were seen once: whose never were may not be seen from here.
        self._seen: set[str] = set()
        # Of models that were unloaded: Triton may keep them for ever where one of the same model has died.
        self._retired: list[ModelProcess] = []

    async def lacking(self, models: Iterable[str]) -> dict[str, str]:
        """Of models that are loaded, those with fewer living processes than they have to have, and what they lack.
        Raises what `wanted` does."""
        models = tuple(models)
        for model in models:
            if model not in self._counts:
                self._counts[model] = await self._wanted(model)
        self._note()
        if self._lacking(models):
            self._search()
        # Somebody may have loaded it with another number of processes.
        for model in self._lacking(models):
            self._counts[model] = await self._wanted(model)
        lacking = self._lacking(models)
        self._seen |= set(models) - set(lacking)
        return {model: lack for model, lack in lacking.items() if model in self._seen}

    def still_s(self, model: str) -> float:
        """For how long all of a model's processes have waited, and computed nothing, as far as was looked; 0 where
        they are not known."""
        active = [one.active for one in self._living.values() if one.model == model]
        return time.monotonic() - max(active) if active else 0.0

    def retire(self, model: str) -> None:
        """It is unloaded: whoever of its processes is still there is none any more."""
        for one in [one for one in self._living.values() if one.model == model]:
            one.active = time.monotonic()
            self._retired.append(self._living.pop(one.pid))

    async def standing(self, model: str) -> list[tuple[int, str]]:
        """Which processes of a model stand still, by number and beginning: those that are stopped, or all where none
        is, for they do not answer either; and what those have begun. Raises what `wanted` does."""
        await self.lacking([model])
        is_whole = not self._lacking([model])
        children: dict[str, list[tuple[int, list[str]]]] = {}
        for pid, fields in _processes():
            children.setdefault(fields[PARENT], []).append((pid, fields))
        own = children.get(str(self._server()), [])
        found = [one for one in own if _model(one[0]) == model and (is_whole or one[1][STATE] in STOPPED)]
        for pid, _ in found:
            # It grows meanwhile.
            found += children.get(str(pid), [])
        return [(pid, fields[STARTED]) for pid, fields in found]

    def end_retired(self) -> None:
        """End what was unloaded, and has computed nothing for so long that it waits for nothing any more."""
        self._retired = [one for one in self._retired if one.look() not in DEAD]
        for one in self._retired:
            if time.monotonic() - one.active > RETIRED_S:
                kill(one.pid, one.started)
                # Once: a driver may hold it.
                one.active = math.inf

    def _lacking(self, models: Iterable[str]) -> dict[str, str]:
        found = {}
        for model in models:
            wanted, living = self._counts[model], sum(one.model == model for one in self._living.values())
            if living < wanted:
                found[model] = f"{wanted - living} of its {wanted} processes" if wanted > 1 else "its process"
        return found

    def _note(self) -> None:
        """How those that are known are now."""
        for one in [*self._living.values()]:
            if one.look() in NOT_LIVING:
                del self._living[one.pid]

    def _search(self) -> None:
        """Look for those that are not known yet, among all processes: only where some are lacking."""
        server = str(self._server())
        retired = {(one.pid, one.started) for one in self._retired}
        for pid, fields in _processes():
            if fields[PARENT] != server or pid in self._living or fields[STATE] in NOT_LIVING:
                continue
            if (pid, fields[STARTED]) not in retired and (model := _model(pid)):
                self._living[pid] = ModelProcess(pid, model, fields[STARTED], _ticks(fields))


def processes_wanted(backend: str, groups: Iterable[tuple[int, int]]) -> int:
    """How many processes a loaded model has. groups: instances on each device, and devices."""
    return sum(count * max(1, devices) for count, devices in groups) if backend == PYTHON else 0


def kill(pid: int, started: str) -> None:
    """End the process of this number that began then."""
    try:
        # By a descriptor: the number may be another one's by now, and its beginning is looked at once more.
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except OSError:
        # A kernel that has none, or a container that may not.
        descriptor = -1
    try:
        fields = _stat(pid)
        if fields is None or fields[STARTED] != started:
            return
        if descriptor < 0:
            os.kill(pid, signal.SIGKILL)
        else:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        logger.warning("process %d stands still, or has lost its model, and is killed", pid)
    except ProcessLookupError:
        pass
    except OSError as error:
        logger.error("process %d stands still, and cannot be killed: %s", pid, error)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _processes() -> Iterator[tuple[int, list[str]]]:
    """All that there are, and the fields of each."""
    for pid in [int(path.name) for path in PROC.iterdir() if path.name.isdigit()]:
        fields = _stat(pid)
        if fields is not None:
            yield pid, fields


def _stat(pid: int) -> list[str] | None:
    """None where it is gone, or nobody's to see. Raises OSError where nothing can be read at all."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError, UnicodeDecodeError):
        return None


def _ticks(fields: list[str]) -> int:
    return int(fields[USER_TICKS]) + int(fields[SYSTEM_TICKS])


def model_of(arguments: Iterable[str]) -> str:
    """Whose process it is by its command line: Python's backend names the file that it runs, MODEL/VERSION/model.py. ""
    for any other."""
    files = (word for word in arguments if word.endswith("/model.py") and word.count("/") >= 3)
    return next((Path(word).parts[-3] for word in files), "")


def _model(pid: int) -> str:
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return ""
    return model_of(words)
