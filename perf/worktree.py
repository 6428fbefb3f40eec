"""A tree of another revision of this repository, ready to serve: what a benchmark measures beside the present one."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from perf.service import ROOT

TINY, FAST_TINY = "export/tiny/tiny", "export/tiny/tiny-fast"
EXPORTED_WITHIN_S = 600.0


class NoRevision(RuntimeError):
    """No tree can be made of a revision; the message says why."""


@contextlib.contextmanager
def worktree(revision: str) -> Iterator[Path]:
    """The revision's files in a folder that lives as long as this, the tiny checkpoints exported by its own code and by
    this environment. Raises NoRevision."""
    with tempfile.TemporaryDirectory(prefix="qwen3-asr-revision-") as parent:
        folder = Path(parent) / "tree"
        _run(["git", "worktree", "add", "--detach", str(folder), revision], ROOT, revision)
        try:
            export = [sys.executable, "-m", "export", "ensure", TINY, "--fast-checkpoint", FAST_TINY]
            _run(export, folder, revision)
            yield folder
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(folder)], cwd=ROOT, check=False)


def _run(command: list[str], folder: Path, revision: str) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=EXPORTED_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoRevision(f"no tree of {revision!r}: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NoRevision(f"no tree of {revision!r}: {said[-1] if said else f'{command[0]} failed'}")
