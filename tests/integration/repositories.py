"""Model repositories that differ from the real one in a few parameters."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import ROOT

REPOSITORY = ROOT / "model_repository"


def linked_repository(folder: Path, changes: dict[str, dict[str, str]]) -> Path:
    """Links to everything in the model repository, but for the default configurations of the models in `changes`, which
    name these parameters besides. Returns `folder`."""
    for room in filter(Path.is_dir, REPOSITORY.iterdir()):
        (folder / room.name).mkdir(parents=True)
        for part in room.iterdir():
            (folder / room.name / part.name).symlink_to(part.resolve())
    for model, parameters in changes.items():
        path = folder / model / "config.pbtxt"
        named = [f'{{ key: "{name}" value: {{ string_value: "{value}" }} }}' for name, value in parameters.items()]
        text = path.read_text() + f"parameters [ {', '.join(named)} ]\n"
        path.unlink()
        path.write_text(text)
    return folder
