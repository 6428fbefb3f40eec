"""Whether what the repository holds is the checkpoint that is asked for, by reading no more than a few small files."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from export.errors import ExportError
from export.files import make_folder
from export.hub import HUB_ID
from export.stamp import FORMAT, READABLE, Stamp, folder_of, name_of, renew_marks, source_of
from export.versions import encoder_room


@dataclass(frozen=True)
class Place:
    """Where a checkpoint goes. encoder_of: as `encoder_room` takes it; language_model: a room; variable: by which the
    Makefile names the checkpoint."""

    encoder_of: str
    language_model: str
    variable: str


MAIN = Place("", "decoder", "CHECKPOINT")
FAST = Place("fast", "decoder_fast", "FAST_CHECKPOINT")
ALIGNER = Place("aligner", "aligner", "ALIGNER")
# There while an export replaces the files of a checkpoint one after the other: its two halves belong together.
UNFINISHED = ".unfinished"


class Other(Enum):
    """What to do where another checkpoint than the one that is asked for is there: a user's."""

    REPLACE = "replace"
    KEEP = "keep"
    REFUSE = "refuse"


class Do(Enum):
    """NOTHING: it is there. KEEP: another one is, and stays. ASKED, AGAIN: export what is asked for, what is there."""

    NOTHING = "nothing"
    KEEP = "keep"
    ASKED = "asked"
    AGAIN = "again"


def language_model_folder(repository: Path, place: Place) -> Path:
    return repository / place.language_model / "1" / "checkpoint"


def decide(asked: str, repository: Path, place: Place, other: Other) -> Do:
    """What `ensure` does. Raises ExportError where another checkpoint is there and neither may be replaced nor can be
    kept."""
    decoder = language_model_folder(repository, place)
    stamp = Stamp.read(decoder)
    if stamp is None:
        if other is not Other.REPLACE and (decoder / "model.safetensors").exists():
            replace = make("models", place, asked)
            raise ExportError(f"{decoder} has weights of which nothing tells whose they are: {replace} replaces them")
        return Do.ASKED
    whole = _is_whole(repository, place)
    if _is_exported(asked, stamp, decoder):
        return Do.NOTHING if whole and stamp.format == FORMAT else Do.ASKED
    if other is Other.REPLACE or _came_from(asked, stamp):
        return Do.ASKED
    if other is Other.REFUSE:
        raise ExportError(f"{_here(repository, stamp)}, not {asked}: {make('models', place, asked)} replaces it")
    if whole and stamp.format in READABLE:
        return Do.KEEP
    if stamp.source and (stamp.revision or stamp.is_of(folder_of(stamp.source))):
        return Do.AGAIN
    why = f"in format {stamp.format}, this version needs {FORMAT}" if whole else "but not all of it"
    raise ExportError(f"{_here(repository, stamp)}, {why}: export it again by {make('models', place, '…')}")


def kept(repository: Path, place: Place, stamp: Stamp) -> str:
    """The line for a checkpoint that stays."""
    return f"{_here(repository, stamp)}; {make('serve', place, '…')} for another"


def make(target: str, place: Place, checkpoint: str) -> str:
    """The command of the Makefile, which is who asks."""
    return f"`make {target} {place.variable}={checkpoint}`"


@contextlib.contextmanager
def replacing(repository: Path, place: Place) -> Iterator[None]:
    """Around what replaces encoder and decoder: an export that was ended between the two is not taken for whole.

    Where nothing was replaced before a failure, what was there stays whole.
    """
    marker, encoder = _marker(repository, place), _encoder(repository, place)
    before = _identity(encoder)
    with contextlib.ExitStack() as held:
        try:
            make_folder(marker.parent)
            # A process that is killed releases it.
            fcntl.flock(held.enter_context(marker.open("ab")), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ExportError(f"another export into {repository} is under way: wait for it") from error
        except OSError as error:
            raise ExportError(f"cannot write to {marker.parent}: {error.strerror}") from error
        try:
            yield
        except BaseException:
            if _identity(encoder) == before:
                marker.unlink(missing_ok=True)
            raise
        marker.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    found = path.stat() if path.exists() else None
    return found and (found.st_ino, found.st_mtime_ns)


def _encoder(repository: Path, place: Place) -> Path:
    return repository / encoder_room(place.encoder_of) / "1" / "model.onnx"


def _marker(repository: Path, place: Place) -> Path:
    return language_model_folder(repository, place).with_name(UNFINISHED)


def _is_whole(repository: Path, place: Place) -> bool:
    """Whether all that `all` writes is there."""
    needed = (
        _encoder(repository, place),
        language_model_folder(repository, place) / "model.safetensors",
        repository / "vad" / "1" / "silero_vad.onnx",
        repository / "encoder" / "warmup" / "MEL",
    )
    return all(path.is_file() for path in needed) and not _marker(repository, place).exists()


def _is_exported(asked: str, stamp: Stamp, decoder: Path) -> bool:
    """Whether a stamp is of just this checkpoint; a hub id means the revision that was exported."""
    folder = Path(asked).expanduser()
    if not stamp.source:
        return False
    if folder.is_dir():
        if stamp.name != name_of(folder) or not stamp.is_of(folder):
            return False
        renew_marks(stamp, decoder, folder)
        return True
    if stamp.source == asked:
        return True
    hub_id, revision = _hub_id(asked)
    return bool(hub_id and revision and hub_id == _hub_id(stamp.source)[0] and revision == stamp.revision)


def _came_from(asked: str, stamp: Stamp) -> bool:
    """Whether a stamp is of another state of the same folder or repository."""
    folder = Path(asked).expanduser()
    if not stamp.source:
        return stamp.name == (name_of(folder) if folder.is_dir() else asked.partition("@")[0].rpartition("/")[2])
    if folder.is_dir():
        return stamp.source == source_of(folder)
    hub_id, _ = _hub_id(asked)
    return hub_id is not None and hub_id == _hub_id(stamp.source)[0]


def _hub_id(source: str) -> tuple[str | None, str | None]:
    found = HUB_ID.fullmatch(source)
    return (found[1], found[2]) if found else (None, None)


def _here(repository: Path, stamp: Stamp) -> str:
    revision = f" (revision {stamp.revision[:12]})" if stamp.revision else ""
    return f"{repository.name} holds {stamp.source or stamp.name}{revision}"
