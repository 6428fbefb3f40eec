"""The processes of this server's other models, as the kernel tells them: Triton says nothing of one that died."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat after the program's name, which may hold spaces.
STATE, PARENT, STARTED = 0, 1, 19
DEAD, STOPPED = "ZXx", "T"
# Words of a command line from the model's file to the instance's name, MODEL_0_0 where nobody named it otherwise.
INSTANCE = 7
# Between two searches among all processes: one that stands still may live on beside the one that took its place.
SEARCH_S = 2.0
# What somebody stopped goes on soon, or not at all.
STOPPED_S = 2.0
# Of one instance on each of several GPUs all have one name, and begin together; who takes another's place does not.
APART_S = 2.0


@dataclass
class Process:
    """started: by the kernel's clock, in ticks, which tells it from a later one of the same id. stopped: since when, by
    time.monotonic. told: that it does not answer."""

    pid: int
    model: str
    instance: str
    started: int
    stopped: float = math.inf
    told: bool = False

    @property
    def began(self) -> float:
        """As time.monotonic has it."""
        return self.started / TICKS_PER_S + time.monotonic() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def answers(self, now: float) -> bool:
        """Whether it lives, as far as was looked, and goes on."""
        return now - self.stopped < STOPPED_S

    def look(self, now: float) -> None:
        fields = _stat(self.pid)
        if fields is None or int(fields[STARTED]) != self.started or fields[STATE] in DEAD:
            self.stopped = -math.inf
        else:
            self.stopped = min(self.stopped, now) if fields[STATE] in STOPPED else math.inf
        self.told = self.told and not self.answers(now)

    def replaces(self, other: Process) -> bool:
        """Whether it took the other's place."""
        return self.instance == other.instance and self.started - other.started > APART_S * TICKS_PER_S


class Processes:
    """Of the children of one server. From one thread at a time; every call reads files."""

    def __init__(self, server: int | None = None) -> None:
        """server: its process id; None: this process is its child too."""
        self._server = str(server or os.getppid())
        self._known: list[Process] = []
        # Whether processes can be seen, and have the names of their models.
        self._visible = False
        # Models none of whose processes answered at the last look.
        self._lacking: set[str] = set()
        self._searched = -math.inf

    def gone(self, models: Collection[str]) -> dict[str, float]:
        """Of these models, all of which have processes of their own, those that lost one, or have none; and until when,
        as time.monotonic has it, they may have been asked in vain: until another began in its place, or now. A lost one
        is told once, and once more when it is replaced; that there is none, every time."""
        now = time.monotonic()
        for one in self._known:
            one.look(now)
        if now - self._searched > SEARCH_S or any(self._is_new(model, now) for model in models):
            self._search(models, now)
        return {model: until for model in models if self._visible and (until := self._lost(model, now)) > -math.inf}

    def _is_new(self, model: str, now: float) -> bool:
        """Whether it has just lost a process, or has none: another may be there already."""
        known = self._of(model)
        return not any(one.answers(now) for one in known) or any(not one.answers(now) and not one.told for one in known)

    def _lost(self, model: str, now: float) -> float:
        """Until when it may have been asked in vain, since the last look; -inf: it was not."""
        known = self._of(model)
        answering = [one for one in known if one.answers(now)]
        if not answering:
            self._lacking.add(model)
            for one in known:
                one.told = True
            return now
        until = -math.inf
        if model in self._lacking:
            self._lacking.remove(model)
            until = min(one.began for one in answering)
        for one in known:
            if replacing := [other.began for other in answering if other.replaces(one)]:
                self._known.remove(one)
                until = max(until, min(replacing))
            elif not one.answers(now) and not one.told:
                one.told, until = True, now
        return min(until, now)

    def _search(self, models: Collection[str], now: float) -> None:
        self._searched = now
        known = {(one.pid, one.started) for one in self._known}
        found = [one for one in self._children() if (one.pid, one.started) not in known]
        self._visible |= any(one.instance.startswith(f"{one.model}_") for one in found)
        every = [*self._known, *found]
        # Who stands still is not found again after it was replaced.
        self._known += [one for one in found if one.model in models and not any(other.replaces(one) for other in every)]

    def _children(self) -> Iterable[Process]:
        """Those of models that are at work."""
        for pid in [int(name) for name in os.listdir(PROC) if name.isdigit()]:
            fields = _stat(pid)
            if fields is None or fields[PARENT] != self._server or fields[STATE] in DEAD + STOPPED:
                continue
            if (model := _model(pid)) is not None:
                yield Process(pid, *model, int(fields[STARTED]))

    def _of(self, model: str) -> list[Process]:
        return [one for one in self._known if one.model == model]


def _stat(pid: int) -> list[str] | None:
    try:
        # Of every process of the machine, while the room works: pathlib takes three times as long.
        with open(f"{PROC}/{pid}/stat", "rb", buffering=0) as file:
            return file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return None


def _model(pid: int) -> tuple[str, str] | None:
    """A model and its instance that a process runs: Python's backend names the file, MODEL/VERSION/model.py, and some
    words later the instance, but where it only asks the file for a configuration. None for any other."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return None
    for place, word in enumerate(words[:-INSTANCE]):
        if word.endswith(".py") and word.count("/") >= 3 and words[place + INSTANCE]:
            return Path(word).parts[-3], words[place + INSTANCE]
    return None
