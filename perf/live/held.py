"""The most live streams whose partials are in time, of the present service and of the revision before, in turns; their
clients are in a process of their own."""

from __future__ import annotations

from typing import Any

from perf.live.processor import ENDS
from perf.live.streams import BOUND_MS, NARROW
from perf.loads.apart import GRPC, WEBSOCKET, Speakers, speaking_apart
from perf.loads.capacity import holds, largest
from perf.service import Service

CHUNK_MS = 100
RUNS = 2


async def measure(services: dict[str, Service], seconds: float, most: int, first: int) -> dict[str, float]:
    """live.held_at_500ms and live.held_at_500ms_grpc of two runs, _0 and _1, each with the end that a service has; and
    over the first of the others, live.held_vs_before.

    services: by the end of their figures' names, the present one first. seconds: of the streams. first: where the
    search begins.
    """
    figures: dict[str, float] = {}
    for way in (WEBSOCKET, GRPC):
        begin = dict.fromkeys(services, first)
        for run in range(RUNS):
            for name, service in services.items():
                held = await _held(service, way, seconds, most, begin[name], name)
                begin[name] = max(1, held)
                figures[f"live.held_at_500ms{ENDS[way]}_{run}{name}"] = held
            now, *before = (figures[f"live.held_at_500ms{ENDS[way]}_{run}{name}"] for name in services)
            if before:
                figures[f"live.held_vs_before{ENDS[way]}_{run}"] = now / max(1.0, before[0])
    return figures


async def _held(service: Service, way: str, seconds: float, most: int, first: int, name: str) -> int:
    address = service.url if way == WEBSOCKET else service.grpc_url()

    async def measured(count: int) -> dict[str, Any]:
        async with speaking_apart(Speakers(way, address, count, seconds, CHUNK_MS)) as speaking:
            row = (await speaking.spoken()).streams.row()
        told = {one: row[one] for one in ("partial_p95_ms", "after_pause_p95_ms", "dropped", "errors")}
        print(f"  {way}{name}: {count} streams, {told}", flush=True)
        return row

    best, _ = await largest(measured, lambda row: holds(row, BOUND_MS), most, first=first, step=NARROW)
    return best
