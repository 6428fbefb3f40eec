"""What a load test found: counts, rates and percentiles."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Load:
    """Requests of one level of load, as they end: read it at any time, after an interruption too."""

    latencies: list[float] = field(default_factory=list)
    first_texts: list[float] = field(default_factory=list)
    audio_seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def row(self) -> dict[str, Any]:
        """Seconds as milliseconds; None where there is nothing to tell."""
        found: dict[str, Any] = {"requests": len(self.latencies), "errors": len(self.errors)}
        found["requests_per_s"] = len(self.latencies) / self.seconds if self.seconds else None
        found["rtfx"] = self.audio_seconds / self.seconds if self.seconds else None
        found |= {f"p{p}_ms": percentile_ms(self.latencies, p) for p in (50, 95, 99)}
        found |= {f"ttft_p{p}_ms": percentile_ms(self.first_texts, p) for p in (50, 95)}
        return found


def percentile_ms(seconds: list[float], percent: float) -> float | None:
    return 1_000 * float(np.percentile(seconds, percent)) if seconds else None


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of the same keys as a Markdown table."""
    if not rows:
        return "(nothing)"
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    lines += [f"| {' | '.join(_cell(row.get(name)) for name in names)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return str(value)
