"""Version folders of a model: a second engine beside the first, for a swap without a pause and a way back."""

from __future__ import annotations

from pathlib import Path

from export.errors import ExportError
from export.files import make_folder


def encoder_room(of: str) -> str:
    """of: `fast`, `aligner`, or empty for the encoder of the recognizer that answers."""
    return f"encoder_{of}" if of else "encoder"


def source_onnx(repository: Path, of: str, version: int) -> Path:
    """The graph that a version's engine is made of: its own, or the first version's where it has none."""
    own, first = (repository / encoder_room(of) / str(one) / "model.onnx" for one in (version, 1))
    return own if own.is_file() else first


def version_folder(repository: Path, model: str, version: int) -> Path:
    """The folder of a version, made where it is missing: its code is links to the first version's.

    Raises ExportError where the repository has no such model.
    """
    first = repository / model / "1"
    if version < 1:
        raise ExportError(f"versions are numbered from 1, not {version}")
    if not first.is_dir():
        raise ExportError(f"{repository} has no model {model}")
    folder = repository / model / str(version)
    if version > 1:
        try:
            _link(first, folder)
        except OSError as error:
            raise ExportError(f"cannot write to {folder}: {error.strerror}") from error
    return folder


def _link(first: Path, folder: Path) -> None:
    make_folder(folder)
    for path in (*first.glob("*.py"), *(package.parent for package in first.glob("*/__init__.py"))):
        link = folder / path.name
        if not link.is_symlink():
            link.symlink_to(Path("..") / "1" / path.name)
