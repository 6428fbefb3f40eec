"""Live transcription: exactness, accuracy, the cost of a step, what a stream costs the processors, how many at once."""

from __future__ import annotations

import asyncio
import contextlib
from argparse import Namespace
from collections.abc import Iterator

from frontend.settings import Settings
from frontend.triton.process import EmbeddedTriton
from perf.live import accuracy as live_accuracy
from perf.live import cost as live_cost
from perf.live import crowd as live_crowd
from perf.live import endurance as live_endurance
from perf.live import held as live_held
from perf.live import processor as live_processor
from perf.live import streams as live_streams
from perf.live.arguments import PARTS
from perf.report import plots
from perf.results import kept, write_json
from perf.service import Service, running_service
from perf.worktree import worktree

# How figures of the revision to compare with end.
BEFORE = "_before"


def run(arguments: Namespace) -> int:
    """Print every figure and write them, and a plot of step times beside; returns 1 where a text was not exact. Where
    not all parts are measured, the file's other figures stay."""
    parts, quick, json_path, size = arguments.only, arguments.quick, arguments.json, arguments.size
    figures = kept(json_path, "live.") if set(parts) != set(PARTS) else {}

    def tell(measured: dict[str, float]) -> None:
        for name, value in measured.items():
            print(f"{name:40}{value:10.3f}", flush=True)
        figures.update(measured)
        write_json(json_path, {**figures, "live.size": size})

    async def serve() -> None:
        server = EmbeddedTriton(Settings(triton_grpc_port=0))
        await server.start()
        assert server.pid is not None
        try:
            if "accuracy" in parts:
                tell(await live_accuracy.measure(server.url, 40 if quick else 208))
            if "streams" in parts and arguments.against is None:
                tell(await live_streams.measure(server.url, server.pid, 6 if quick else 20, 64 if quick else 256))
            if "endurance" in parts:
                tell(await live_endurance.vanish(server.url, server.pid, server.metrics_port, 40 if quick else 200))
                tell(await live_endurance.hour(server.url, server.pid, 2 if quick else 60))
        finally:
            await server.stop()

    alone = {"accuracy", "endurance"} if arguments.against is not None else {"accuracy", "streams", "endurance"}
    if alone & set(parts):
        asyncio.run(serve())
    if "processor" in parts:
        with _services(arguments.against) as services:
            seconds, turns = (6, 1) if quick else (15, 3)
            tell(asyncio.run(live_processor.measure(services, seconds, tuple(arguments.chunk_ms), turns=turns)))
    if "streams" in parts and arguments.against is not None:
        with _services(arguments.against) as services:
            tell(asyncio.run(live_held.measure(services, 6 if quick else 20, 64 if quick else 512, first=48)))
    if "crowd" in parts:
        tell(live_crowd.measure(arguments.crowd, 30 if quick else 90))
    if "cost" in parts:
        cost, curves = live_cost.measure(size, quick, 3 if size == "small" else 1)
        tell(cost)
        if json_path is not None:
            title = f"One step with 0.5 s of new audio, {size} dimensions, random weights, CPU"
            path = json_path.with_suffix(".png")
            plots.lines(path, curves, "seconds of session", "seconds of a step", log_y=True, title=title)
    return 1 if figures.get("live.mismatches") else 0


@contextlib.contextmanager
def _services(against: str | None) -> Iterator[dict[str, Service]]:
    """The present one, and one of the revision to compare with, by the ends of their figures' names."""
    with contextlib.ExitStack() as stack:
        services = {"": stack.enter_context(running_service())}
        if against is not None:
            folder = stack.enter_context(worktree(against))
            services[BEFORE] = stack.enter_context(running_service(folder=folder))
        yield services
