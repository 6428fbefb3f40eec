"""Live transcription: exactness, accuracy, the cost of a step, and how many streams at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from frontend.settings import Settings
from frontend.triton.process import EmbeddedTriton
from perf.live import accuracy as live_accuracy
from perf.live import cost as live_cost
from perf.live import endurance as live_endurance
from perf.live import processor as live_processor
from perf.live import streams as live_streams
from perf.report import plots
from perf.results import kept, write_json
from perf.service import running_service

PARTS = ("accuracy", "streams", "processor", "endurance", "cost")


def benchmark(quick: bool, json_path: Path | None, size: str, parts: list[str]) -> int:
    """Print every figure and write them, and a plot of step times beside; returns 1 where a text was not exact.

    parts: of PARTS; where they are not all, the file's other figures stay.
    """
    figures: dict[str, float] = {}
    if len(parts) < len(PARTS):
        figures = kept(json_path, "live.")

    def tell(measured: dict[str, float]) -> None:
        for name, value in measured.items():
            print(f"{name:40}{value:10.3f}", flush=True)
        figures.update(measured)

    async def serve() -> None:
        server = EmbeddedTriton(Settings(triton_grpc_port=0))
        await server.start()
        assert server.pid is not None
        try:
            if "accuracy" in parts:
                tell(await live_accuracy.measure(server.url, 40 if quick else 208))
            if "streams" in parts:
                tell(await live_streams.measure(server.url, server.pid, 6 if quick else 20, 64 if quick else 256))
            if "endurance" in parts:
                tell(await live_endurance.vanish(server.url, server.pid, server.metrics_port, 40 if quick else 200))
                tell(await live_endurance.hour(server.url, server.pid, 2 if quick else 60))
        finally:
            await server.stop()

    if set(parts) - {"cost", "processor"}:
        asyncio.run(serve())
    if "processor" in parts:
        with running_service() as service:
            tell(live_processor.measure(service.url, service.grpc_url(), service.pid, 6 if quick else 15))
    if "cost" in parts:
        cost, curves = live_cost.measure(size, quick, 3 if size == "small" else 1)
        tell(cost)
        if json_path is not None:
            title = f"One step with 0.5 s of new audio, {size} dimensions, random weights, CPU"
            path = json_path.with_suffix(".png")
            plots.lines(path, curves, "seconds of session", "seconds of a step", log_y=True, title=title)
    write_json(json_path, {**figures, "live.size": size})
    return 1 if figures.get("live.mismatches") else 0
