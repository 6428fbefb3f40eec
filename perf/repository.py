"""A model repository that differs in some parameters of one model."""

from __future__ import annotations

from pathlib import Path

from export.rooms import MODEL_REPOSITORY


def change(folder: Path, model: str, **parameters: str) -> None:
    """Fill `folder` with links to the model repository, but for the default configuration of `model`, which names these
    parameters as well."""
    for room in filter(Path.is_dir, MODEL_REPOSITORY.iterdir()):
        (folder / room.name).mkdir()
        for part in room.iterdir():
            (folder / room.name / part.name).symlink_to(part.resolve())
    path = folder / model / "config.pbtxt"
    named = [
        f'parameters [ {{ key: "{name}" value: {{ string_value: "{value}" }} }} ]' for name, value in parameters.items()
    ]
    text = "\n".join([path.read_text(), *named, ""])
    path.unlink()
    path.write_text(text)
