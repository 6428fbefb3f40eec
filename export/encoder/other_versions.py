"""Engines in other version folders than the one that an export fills.

Triton serves the latest version, so an engine that was swapped in stays in front of a newly exported first version:
with another checkpoint's decoder it would make nonsense of every request.
"""

from __future__ import annotations

import json
from pathlib import Path

from export.errors import ExportError


def require_same_weights(encoder: Path, weights_sha256: str) -> None:
    """Raise ExportError, with what to type, where a later version in the room `encoder` is of other weights."""
    for folder in sorted(encoder.glob("[0-9]*")):
        if folder.name == "1" or not folder.is_dir():
            continue
        made_of = _weights_of(folder)
        if made_of is not None and made_of != weights_sha256:
            raise ExportError(
                f"{folder} is an engine of another checkpoint and would be served in place of this one: rm -r {folder}"
            )


def _weights_of(folder: Path) -> str | None:
    """The checkpoint's hash that an engine was made of; None where there is no engine, or it does not tell."""
    record = folder / "model.plan.json"
    if record.is_file():
        found = json.loads(record.read_text(encoding="utf-8")).get("weights_sha256")
        return str(found) if found else None
    if (folder / "model.onnx").is_file():
        from export.encoder.onnx_file import read_properties

        return read_properties(folder / "model.onnx").get("weights_sha256")
    return None
