"""Somebody who has cloned the repository: types commands in the clone, as a uid of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.rehearsal.host import Host, RehearsalFailed


class User:
    """Commands are shell lines, shown as they would be typed and run as `uid` in `clone`.

    Variables that only the rehearsal needs (its compose file, its daemon, its ports) are in the environment.
    """

    def __init__(self, host: Host, clone: Path, uid: int, variables: dict[str, str]) -> None:
        self._host = host
        self.clone = clone
        self.uid = uid
        self.variables = variables
        home = clone.parent / f"home-{uid}"
        home.mkdir(exist_ok=True)
        _give(home, uid)
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
        # `docker compose` under the name that is here, and a Python that this user may run.
        tools = home / "bin"
        tools.mkdir(exist_ok=True)
        (tools / "compose").write_text(f'#!/bin/sh\nexec {" ".join(host.compose)} "$@"\n')
        (tools / "compose").chmod(0o755)
        self._environment = {
            **kept,
            "PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "DOCKER_HOST": host.docker_host,
            **variables,
        }

    def as_uid(self, uid: int) -> User:
        """Somebody else in the same clone."""
        return User(self._host, self.clone, uid, self.variables)

    def types(self, line: str, *, timeout_s: float = 600.0, fails: bool = False, quiet: bool = False) -> str:
        """What the command prints; `docker compose` stands for whichever compose is here.

        Raises RehearsalFailed where it fails (`fails`: where it does not).
        """
        if not quiet:
            print(f"$ {line}", flush=True)
        started = time.monotonic()
        typed = line.replace("docker compose", "compose")
        try:
            done = subprocess.run(
                ["/bin/bash", "-eo", "pipefail", "-c", typed],
                cwd=self.clone,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=timeout_s,
                check=False,
                **_identity(self.uid, self._host.group),
            )
        except subprocess.TimeoutExpired as error:
            raise RehearsalFailed(f"`{line}` took more than {timeout_s:.0f} s") from error
        if (done.returncode == 0) == fails:
            verb = "did not fail" if fails else f"failed with {done.returncode}"
            raise RehearsalFailed(f"`{line}` {verb} after {time.monotonic() - started:.0f} s:\n{done.stdout[-4000:]}")
        return done.stdout

    def until(self, line: str, what: str, timeout_s: float = 180.0) -> str:
        """Type a command until it succeeds; RehearsalFailed names `what` where it does not in time."""
        print(f"$ {line}    # until {what}", flush=True)
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self.types(line, quiet=True, timeout_s=60)
            except RehearsalFailed:
                if time.monotonic() > deadline:
                    logs = self.types("docker compose logs --no-color --tail 15", quiet=True)
                    raise RehearsalFailed(f"not {what} within {timeout_s:.0f} s:\n{logs[-6000:]}") from None
                time.sleep(1.0)


def _identity(uid: int, socket_group: int) -> dict[str, Any]:
    """Arguments of Popen that make a child another user's, where this process may."""
    return {"user": uid, "group": uid, "extra_groups": [socket_group]} if os.geteuid() == 0 else {}


def _give(folder: Path, uid: int) -> None:
    if os.geteuid() == 0:
        os.chown(folder, uid, uid)


def own(folder: Path, uid: int) -> None:
    """Everything in `folder` becomes this user's."""
    if os.geteuid() != 0:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)


def python_for_users() -> str:
    """A Python that every user can run: this one is often in somebody's home."""
    for candidate in (Path(sys.base_prefix) / "bin" / "python3", Path("/usr/bin/python3")):
        real = candidate.resolve()
        open_to_all = all(parent.stat().st_mode & 0o001 for parent in real.parents)
        if real.is_file() and (open_to_all or os.geteuid() != 0):
            return str(candidate)
    raise RehearsalFailed("no Python that another user can run: install python3 and python3-venv")
