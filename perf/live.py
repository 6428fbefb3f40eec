"""Live transcription: exactness, accuracy, the cost of a step, and how many streams at once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from frontend.settings import Settings
from frontend.triton_process import EmbeddedTriton
from perf import live_accuracy, live_cost, live_endurance, live_streams
from perf.results import write_json

PARTS = ("accuracy", "streams", "endurance", "cost")


def benchmark(quick: bool, json_path: Path | None, size: str, parts: list[str]) -> int:
    """Print every figure and write them, and a plot of step times beside; returns 1 where a text was not exact.

    parts: of PARTS; where they are not all, the file's other figures stay.
    """
    figures: dict[str, float] = {}
    if json_path is not None and json_path.is_file() and len(parts) < len(PARTS):
        known = json.loads(json_path.read_text())
        figures = {name: value for name, value in known.items() if name.startswith("live.") and name != "live.size"}

    def tell(measured: dict[str, float]) -> None:
        for name, value in measured.items():
            print(f"{name:40}{value:10.3f}", flush=True)
        figures.update(measured)

    async def serve() -> None:
        server = EmbeddedTriton(Settings())
        await server.start()
        assert server.pid is not None
        try:
            if "accuracy" in parts:
                tell(await live_accuracy.measure(server.url, 40 if quick else 208))
            if "streams" in parts:
                tell(await live_streams.measure(server.url, 10 if quick else 20, 64 if quick else 256))
            if "endurance" in parts:
                tell(await live_endurance.vanish(server.url, server.pid, server.metrics_port, 40 if quick else 200))
                tell(await live_endurance.hour(server.url, server.pid, 2 if quick else 60))
        finally:
            await server.stop()

    if parts != ["cost"]:
        asyncio.run(serve())
    if "cost" in parts:
        cost, curves = live_cost.measure(size, quick)
        tell(cost)
        if json_path is not None:
            _plot(curves, json_path.with_suffix(".png"), size)
    write_json(json_path, {**figures, "live.size": size})
    return 1 if figures.get("live.mismatches") else 0


def _plot(curves: dict[str, list[tuple[float, float]]], path: Path, size: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
    axes.set(xlabel="seconds of session", ylabel="seconds of a step", yscale="log")
    axes.set_title(f"One step with 0.5 s of new audio, {size} dimensions, random weights, CPU", fontsize=10)
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    figure.savefig(path, dpi=120)
