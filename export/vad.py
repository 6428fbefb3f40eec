"""Silero's network from its own package to the room that serves it."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from export.errors import ExportError
from export.files import staged

FILE = "silero_vad_16k_sequence.onnx"


def export_vad(target: Path) -> None:
    """Copy the ONNX file to `target`; ExportError where the package is not installed."""
    # Found without being imported: the package itself wants torchaudio, its network does not.
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise ExportError("the package silero-vad is not installed: `make setup` installs it")
    source = Path(spec.submodule_search_locations[0]) / "data" / FILE
    if not source.is_file():
        raise ExportError(f"{source} is missing: silero-vad 6.2.3 is needed")
    with staged(target) as folder:
        shutil.copyfile(source, folder / target.name)
