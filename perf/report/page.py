"""The page as it grows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from export.errors import ExportError
from perf.peers.environments import PeerMissing
from perf.results import machine

# Two runs of a ratio should agree within this.
REPEATABLE = 0.15


class Report:
    """The page as it grows: each part is written when it is measured, so that an interruption leaves what is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.figures: dict[str, Any] = {}
        self._parts: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, text: str) -> None:
        self._parts.append(text)
        (self.folder / "report.md").write_text("\n\n".join(self._parts) + "\n")
        (self.folder / "report.json").write_text(json.dumps({**self.figures, **machine()}, indent=2) + "\n")

    def part(self, title: str, measure: Callable[[], str]) -> None:
        """Measure a part; what cannot be measured here is told in its place."""
        print(f"{title} ...", flush=True)
        started = time.monotonic()
        try:
            text = measure()
        except (PeerMissing, RuntimeError, ExportError, OSError, ValueError) as error:
            text = f"Not measured: {error}"
        self.add(f"## {title}\n\n{text}")
        print(f"  {time.monotonic() - started:.0f} s", flush=True)


def twice(values: list[float]) -> str:
    """Both runs of a ratio, and whether they agree."""
    apart = abs(values[0] - values[1]) / min(values)
    return f"{values[0]:.2f} and {values[1]:.2f}" + ("" if apart <= REPEATABLE else f" ({100 * apart:.0f} % apart)")
