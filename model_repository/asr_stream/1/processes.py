"""The processes of this server's other models, as the kernel tells them: Triton says nothing of one that died."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path

PROC = Path("/proc")
# Fields of /proc/PID/stat after the program's name, which may hold spaces.
STATE, PARENT, STARTED = 0, 1, 19
DEAD = "ZXx"
# Between two searches among all processes for those of a model that has none: it may live where it cannot be seen.
SEARCH_S = 5.0


class Processes:
    """Of the children of one server. From one thread at a time; every call reads files."""

    def __init__(self, server: int | None = None) -> None:
        """server: its process id; None: this process is its child too."""
        self._server = str(server or os.getppid())
        # By model, of each that lives its id and when it began, which tells it from a later one of the same id.
        self._living: dict[str, set[tuple[int, str]]] = {}
        self._searched = 0.0

    def gone(self, models: Collection[str]) -> set[str]:
        """Of these models, those that have lost a process since the last look, or had none left at its end: what was
        asked since then may have been asked of a dead one. One of which none was ever seen is not judged."""
        lost, search = set(), False
        for model in models:
            dead = {one for one in self._living.get(model, ()) if not _lives(*one)}
            if dead or (model in self._living and not self._living[model]):
                self._living[model] -= dead
                lost.add(model)
                # It may be back already.
                search = True
            elif model not in self._living:
                search |= time.monotonic() - self._searched > SEARCH_S
        if search:
            self._search()
        return lost

    def _search(self) -> None:
        self._searched = time.monotonic()
        for pid in [int(path.name) for path in PROC.iterdir() if path.name.isdigit()]:
            fields = _stat(pid)
            if fields and fields[PARENT] == self._server and fields[STATE] not in DEAD and (model := _model(pid)):
                self._living.setdefault(model, set()).add((pid, fields[STARTED]))


def _lives(pid: int, started: str) -> bool:
    fields = _stat(pid)
    return fields is not None and fields[STARTED] == started and fields[STATE] not in DEAD


def _stat(pid: int) -> list[str] | None:
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return None


def _model(pid: int) -> str:
    """Whose process it is: Python's backend names the file that it runs, MODEL/VERSION/model.py. "" for any other."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return ""
    return next((Path(word).parts[-3] for word in words if word.endswith("/model.py") and word.count("/") >= 3), "")
