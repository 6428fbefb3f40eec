"""Becomes the server, and leaves a guard beside it: python launched.py PARENT PIPE GRACE_S SERVER OPTION…

Whatever happens to who began it, the server ends: the kernel sends it SIGTERM then, by which it removes its shared
memory. It cannot where a model's process stands still; and a model's process may outlive a server that was killed, for
what tells it a metric waits for it for ever. Either would keep its memory, a GPU's too. So the guard, a fork of this
process before it becomes the server, waits for the end of a pipe that whoever began it holds open, leaves the server
its time, and kills what is left of their session.

python launched.py guard SERVER PIPE GRACE_S      the guard
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence

# Of <sys/prctl.h>.
PR_SET_PDEATHSIG = 1
LOOK_S = 0.1
GUARD = "guard"


class Tether:
    """What a server is held by: whoever began it closes it, or is gone."""

    def __init__(self) -> None:
        self._theirs, self._own = os.pipe()

    @property
    def inherited(self) -> tuple[int, ...]:
        """The file descriptors that the process has to get."""
        return (self._theirs,)

    def command(self, grace_s: float, server: Sequence[str]) -> list[str]:
        """What is to be started, in a session of its own. grace_s: how long the server then has for its end."""
        # Isolated and without site-packages: the guard stays as small as it can be.
        own = [sys.executable, "-I", "-S", __file__, str(os.getpid())]
        return [*own, str(self._theirs), str(grace_s), *server]

    def begun(self) -> None:
        """They have it."""
        self._theirs = _closed(self._theirs)

    def close(self) -> None:
        """May be called again."""
        self._theirs, self._own = _closed(self._theirs), _closed(self._own)


def _closed(descriptor: int) -> int:
    if descriptor >= 0:
        os.close(descriptor)
    return -1


def main(parent: int, pipe: int, grace_s: float, server: list[str]) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)
    own = os.getpid()
    if os.fork() == 0:
        # The server's arguments hold a secret, which is hidden in that process alone.
        os.execv(sys.executable, [sys.executable, "-I", "-S", __file__, GUARD, str(own), str(pipe), str(grace_s)])
    os.close(pipe)
    os.execv(server[0], server)


def guard(server: int, pipe: int, grace_s: float) -> None:
    """Until whoever began the server is gone, and a little longer."""
    os.read(pipe, 1)
    until = time.monotonic() + grace_s
    while os.getppid() == server and time.monotonic() < until:
        time.sleep(LOOK_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    if sys.argv[1] == GUARD:
        guard(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    else:
        main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
