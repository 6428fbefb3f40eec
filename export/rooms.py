"""Import a module of a room (a Triton model's folder) from outside of Triton.

Rooms keep their modules in `model_repository/<room>/1` and import each other by relative imports, as Triton loads them.
Export, tests and benchmarks reach the same code through here.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

MODEL_REPOSITORY = Path(__file__).resolve().parent.parent / "model_repository"


def room(name: str, module: str) -> ModuleType:
    """The module `module` of the room `name`, e.g. room("features", "log_mel").

    Raises ModuleNotFoundError when the room or the module does not exist.
    """
    package = f"asr_room_{name}"
    if package not in sys.modules:
        folder = MODEL_REPOSITORY / name / "1"
        if not folder.is_dir():
            raise ModuleNotFoundError(f"no room {name!r} at {folder}")
        spec = importlib.machinery.ModuleSpec(package, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[package] = importlib.util.module_from_spec(spec)
    return importlib.import_module(f"{package}.{module}")
