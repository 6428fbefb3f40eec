"""Plots that can be read without their text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a")


def _axes() -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    axes.set_prop_cycle(color=COLOURS)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def lines(
    path: Path,
    curves: Mapping[str, Sequence[tuple[float, float]]],
    x: str,
    y: str,
    *,
    log: bool = False,
    log_y: bool = False,
    title: str = "",
) -> None:
    """One line for each curve. log: powers of two on the x axis."""
    figure, axes = _axes()
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, linewidth=1.8, label=name)
    axes.set(xlabel=x, ylabel=y)
    axes.set_title(title, fontsize=10)
    if log:
        axes.set_xscale("log", base=2)
        ticks = sorted({point[0] for points in curves.values() for point in points})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    if log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.25)
    axes.legend(frameon=False)
    _save(figure, path)


def bars(path: Path, values: Mapping[str, float], x: str) -> None:
    """Horizontal bars with their values."""
    figure, axes = _axes()
    drawn = axes.barh(list(values), list(values.values()), color=COLOURS[0], height=0.6)
    axes.bar_label(drawn, fmt="%.3g", padding=4)
    axes.invert_yaxis()
    axes.set(xlabel=x)
    axes.margins(x=0.12)
    _save(figure, path)
