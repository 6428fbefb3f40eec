"""The largest number of live streams that holds a bound, and what bulk files beside them change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from perf.http_load import Upload, http_load
from perf.ws_load import Streams, ws_load


async def capacity(
    url: str, bound_ms: float, seconds: float, most: int, tell: Callable[[dict[str, Any]], None]
) -> tuple[int, list[dict[str, Any]]]:
    """Bisect to a tenth the number of streams whose partials come within `bound_ms` at p95, none lost."""

    async def measured(count: int) -> dict[str, Any]:
        row = (await ws_load(url, count, seconds)).row()
        tell(row)
        return row

    return await largest(measured, lambda row: holds(row, bound_ms), most)


def holds(row: dict[str, Any], bound_ms: float) -> bool:
    """Whether a run kept the bound: partials in time, no stream failed, every utterance got its final."""
    p95 = row["partial_p95_ms"]
    return p95 is not None and p95 <= bound_ms and not row["errors"] and not row["dropped"]


async def largest(
    measured: Callable[[int], Awaitable[dict[str, Any]]], good: Callable[[dict[str, Any]], bool], most: int
) -> tuple[int, list[dict[str, Any]]]:
    """Double until it fails, then halve the distance until it is a tenth; 0 where one is too many."""
    holds_at, fails_at, count = 0, most + 1, min(8, most)
    rows = []
    while True:
        rows.append(await measured(count))
        if good(rows[-1]):
            holds_at = count
        else:
            fails_at = count
        if fails_at - holds_at <= max(1, holds_at // 10):
            return holds_at, sorted(rows, key=lambda row: row["streams"])
        count = min(2 * count, most) if fails_at > most else (holds_at + fails_at) // 2


async def mixed(url: str, streams: int, bulk: int, files: list[Upload], seconds: float) -> dict[str, Any]:
    """The same live streams alone, and beside `bulk` clients that post files without a pause; the bulk alone too."""
    alone = await ws_load(url, streams, seconds)
    bulk_alone = await http_load(url, files, bulk, seconds)
    together = Streams()
    beside, both = await asyncio.gather(
        http_load(url, files, bulk, seconds + 2), ws_load(url, streams, seconds, into=together)
    )
    rows = [{"load": "streams alone", **alone.row()}, {"load": f"streams beside {bulk} bulk clients", **both.row()}]
    return {
        "rows": rows,
        "partial_p95_ratio": rows[1]["partial_p95_ms"] / rows[0]["partial_p95_ms"],
        "bulk_rtfx_alone": bulk_alone.row()["rtfx"],
        "bulk_rtfx_beside": beside.row()["rtfx"],
        "errors": len(beside.errors) + len(both.errors) + len(alone.errors),
    }
