"""Figures as files."""

from __future__ import annotations

import json
import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any


class NoFigures(ValueError):
    """A file of figures cannot be read or written; the message names it and says why."""


def read_figures(path: Path) -> dict[str, Any]:
    """The object in a file of figures; {} where the file is empty, as `mktemp` makes it. Raises NoFigures."""
    try:
        text = path.read_text(encoding="utf-8")
        figures = json.loads(text) if text.strip() else {}
    except (OSError, ValueError) as error:
        raise NoFigures(f"{path} cannot be read as figures: {_reason(error)}") from error
    if not isinstance(figures, dict):
        raise NoFigures(f"{path} cannot be read as figures: it holds no JSON object")
    return figures


def check_json(path: Path | None) -> None:
    """Raises NoFigures where write_json could not write `path`, or would write over what are no figures: asked before
    any work, which would be lost. Makes the folder that it is to lie in."""
    if path is None:
        return
    try:
        if path.is_dir():
            raise NoFigures(f"{path} is a folder: --json takes a file")
        if path.exists() and not os.access(path, os.W_OK):
            raise NoFigures(f"{path} cannot be written: permission denied")
        if _is_special(path):
            return
        if path.exists():
            nested = next((name for name, value in read_figures(path).items() if isinstance(value, dict | list)), None)
            if nested is not None:
                raise NoFigures(f"{path} is not one flat object of figures: {nested!r} in it is not one value")
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = _beside(path)
        beside.touch()
        beside.unlink()
    except OSError as error:
        raise NoFigures(f"{path} cannot be written: {_reason(error)}") from error


def kept(path: Path | None, prefix: str) -> dict[str, Any]:
    """Figures of this prefix that are in the file already, for a run of some of its parts; {} without a file, or
    where it is empty. Raises NoFigures."""
    if path is None or not path.is_file():
        return {}
    return {name: value for name, value in read_figures(path).items() if name.startswith(prefix)}


def write_json(path: Path | None, figures: dict[str, Any]) -> None:
    """Write one flat object: the figures, and what they were measured on. The file is whole at any time: the old one,
    then the new one."""
    if path is None:
        return
    rounded = {name: _rounded(value) if isinstance(value, float) else value for name, value in figures.items()}
    text = json.dumps({**rounded, **machine()}, indent=2) + "\n"
    if _is_special(path):
        path.write_text(text)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        beside.write_text(text)
        if path.exists():
            shutil.copymode(path, beside)
        beside.replace(path.resolve())
    finally:
        beside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """Where the new file is written: in the same folder as the old one, which a link may point to from elsewhere."""
    target = path.resolve()
    return target.with_name(f".{target.name}.{os.getpid()}")


def _rounded(value: float) -> float:
    """To four decimals, and what is below one to four digits: a difference of 1e-6 is not none."""
    return float(f"{value:.4g}") if abs(value) < 1 else round(value, 4)


def _is_special(path: Path) -> bool:
    """A pipe or a device such as /dev/stdout: written as it is, and not replaced."""
    return path.exists() and not path.is_file()


def _reason(error: Exception) -> str:
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "what should be its folder is a file"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return f"it is not JSON ({error})"


def apart(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """Numbers that both files have, furthest apart first; change: of the larger over the smaller, as a share, negative
    where it fell."""
    rows = []
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        if isinstance(old, int | float) and isinstance(new, int | float) and not name.startswith("machine."):
            low, high = sorted((abs(old), abs(new)))
            change = 0.0 if high == 0 else high / low - 1 if low else float("inf")
            rows.append({"figure": name, "before": old, "after": new, "change": change if new >= old else -change})
    return sorted(rows, key=lambda row: (-abs(row["change"]), row["figure"]))


def machine() -> dict[str, Any]:
    """What figures were measured on."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return {
        "machine.cpu": cpu,
        "machine.cores": os.cpu_count(),
        "machine.python": platform.python_version(),
        "machine.torch": version("torch"),
        "machine.transformers": version("transformers"),
        "machine.onnxruntime": version("onnxruntime"),
    }
