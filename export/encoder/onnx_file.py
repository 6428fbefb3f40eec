"""What an ONNX file of ours says of itself, and moving it together with its external data."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch

from export.files import make_readable

EXPORTER = f"qwen3-asr-triton, torch {torch.__version__}"


def stamp(path: Path, **properties: str) -> None:
    """Add properties (checkpoint, weights_sha256, precision, ...) to a file's metadata, and who made it."""
    model = onnx.load(path, load_external_data=False)
    known = properties_of(model)
    known |= {"exporter": EXPORTER, "opset": str(model.opset_import[0].version), **properties}
    onnx.helper.set_model_props(model, known)
    onnx.save(model, path)


def properties_of(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def read_properties(path: Path) -> dict[str, str]:
    """A file's metadata."""
    return properties_of(onnx.load(path, load_external_data=False))


def data_of(path: Path) -> Path:
    """Where the weights of a file beyond protobuf's 2 GB are."""
    return path.with_name(path.name + ".data")


def move(path: Path, target: Path) -> None:
    """Put a file's external data in place, before the file itself replaces what was there; drop data of the old one."""
    data = data_of(path)
    if data.exists():
        make_readable(data)
        data.replace(data_of(target))
    else:
        data_of(target).unlink(missing_ok=True)
