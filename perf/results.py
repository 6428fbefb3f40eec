"""Figures as files."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any


def kept(path: Path | None, prefix: str) -> dict[str, Any]:
    """Figures of this prefix that are in the file already, for a run of some of its parts; {} without a file."""
    if path is None or not path.is_file():
        return {}
    return {name: value for name, value in json.loads(path.read_text()).items() if name.startswith(prefix)}


def write_json(path: Path | None, figures: dict[str, Any]) -> None:
    """Write one flat object: the figures, and what they were measured on."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
    path.write_text(json.dumps({**rounded, **machine()}, indent=2) + "\n")


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
