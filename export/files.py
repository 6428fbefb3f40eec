"""Files that are there whole or not at all, and that every user of the machine can read."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from export.errors import ExportError

# The server is often another user than the exporter, and nothing that it loads is secret. Neither the caller's umask
# nor a library that writes for its owner alone (safetensors, tempfile) may keep it out.
FILE_MODE = 0o644
FOLDER_MODE = 0o755


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target`; what is written there under target's name replaces it on success.

    Nothing of it stays after a failure. Raises ExportError where the disk is full or not writable.
    """
    try:
        make_folder(target.parent)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise ExportError(f"cannot write to {target.parent}: {error.strerror}") from error
    try:
        yield folder
        make_readable(folder / target.name)
        _replace(folder / target.name, target, folder / "replaced")
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))
        raise ExportError(f"{target} was not written: {reason}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _replace(source: Path, target: Path, aside: Path) -> None:
    # A folder cannot be renamed over a full one: the old one steps aside first.
    if target.is_dir():
        target.rename(aside)
    source.rename(target)


def make_folder(folder: Path) -> None:
    """The folder and its missing parents, readable by every user. Raises OSError."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        one.chmod(FOLDER_MODE)


def make_readable(path: Path) -> None:
    """Let every user read a file, or a folder and all that is in it. Links, and what they lead to, are left alone."""
    if path.is_symlink():
        return
    path.chmod(FOLDER_MODE if path.is_dir() else FILE_MODE)
    if path.is_dir():
        with os.scandir(path) as entries:
            inside = [Path(entry.path) for entry in entries]
        for one in inside:
            make_readable(one)


def require_space(folder: Path, num_bytes: int) -> None:
    """Raise ExportError where the disk of `folder` has less than `num_bytes` free."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < num_bytes:
        raise ExportError(f"{folder} needs {num_bytes / 1e6:.0f} MB; its disk has {free / 1e6:.0f} MB free")


def require_readable(repository: Path) -> None:
    """Raise ExportError where this process cannot read a file that a server would: modes of another user's clone."""
    unreadable = next((path for path in sorted(_served(repository)) if not os.access(path, os.R_OK)), None)
    if unreadable is not None:
        raise ExportError(
            f"{unreadable} cannot be read by uid {os.geteuid()}, as which the server runs: on the host, "
            "chmod -R a+rX model_repository"
        )


def _served(repository: Path) -> Iterator[Path]:
    yield repository
    for folder, folders, files in os.walk(repository):
        # What begins with a dot is somebody's unfinished export.
        folders[:] = [name for name in folders if not name.startswith(".")]
        # A folder that cannot be entered is not walked: it is named here.
        paths = (Path(folder) / name for name in (*files, *folders) if not name.startswith("."))
        yield from (path for path in paths if not path.is_symlink())
