"""The process to hurt: of a server's model, the server itself, or what started it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

from frontend.triton.instances import model_of

# A zombie is nobody; one that was stopped was hurt before, and may stay for long after another was loaded in its place.
PAST_HURTING = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD, psutil.STATUS_STOPPED)


def processes_of(root: int, name: str) -> list[psutil.Process]:
    """Below the process `root`, those of a model, or of `triton`, that are alive and not stopped, the newest first:
    one that was unloaded, and stands still, may not have ended."""
    found = []
    for process in psutil.Process(root).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.status() not in PAST_HURTING and what(process) == name:
                found.append((process.create_time(), process))
    return [process for _, process in sorted(found, key=lambda one: -one[0])]


def what(process: psutil.Process) -> str:
    """The name of the model that a process runs, `triton` for the server, else its program's. Raises psutil.Error."""
    words = process.cmdline()
    program = Path(words[0]).name if words else "gone"
    return model_of(words) or ("triton" if program == "tritonserver" else program)
