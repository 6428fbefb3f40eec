"""Small texts with a head, from files of the server: `name: value` lines, an empty line, and the body."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOST_FILES, MOST_BYTES = 200, 1_000_000
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
HEAD = re.compile(r"([a-z_]+): *(.*)")


class FilesWrong(ValueError):
    """A file cannot be what it is meant to be; the message names it and says why."""


@dataclass(frozen=True)
class Headed:
    """path: where it lies; name: the file's, without its ending."""

    path: Path
    name: str
    head: dict[str, str]
    body: str

    def wrong(self, why: str) -> FilesWrong:
        return FilesWrong(f"{self.path}: {why}")


def headed_files(folder: Path) -> Iterator[Headed]:
    """The files *.txt of a folder, by name. Raises FilesWrong."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".txt")
    except OSError as error:
        raise FilesWrong(f"{folder} cannot be read: {(error.strerror or str(error)).lower()}") from error
    if len(paths) > MOST_FILES:
        raise FilesWrong(f"{folder} has {len(paths)} files; {MOST_FILES} are the most")
    for path in paths:
        try:
            if path.stat().st_size > MOST_BYTES:
                raise FilesWrong(f"{path} has more than {MOST_BYTES} bytes")
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FilesWrong(f"{path} cannot be read: {error}") from error
        yield _headed(path, text)


def _headed(path: Path, text: str) -> Headed:
    head, _, body = text.partition("\n\n")
    told: dict[str, str] = {}
    for line in head.splitlines():
        found = HEAD.fullmatch(line.strip())
        if found is None:
            raise FilesWrong(f"{path}: its first lines, down to an empty one, are `name: value`, not {line[:60]!r}")
        told[found[1]] = found[2].strip()
    return Headed(path, path.stem, told, body.strip())
