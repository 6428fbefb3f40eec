"""The largest number of live streams that holds a bound, and what bulk files beside them change."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from perf.loads.hearing import Streams
from perf.loads.http_load import Upload, http_load
from perf.loads.load import Load, percentile_ms
from perf.loads.ws_load import ws_load


async def capacity(
    url: str,
    bound_ms: float,
    seconds: float,
    most: int,
    tell: Callable[[dict[str, Any]], None],
    *,
    first: int = 8,
    step: float = 2.0,
) -> tuple[int, list[dict[str, Any]]]:
    """Search, to a tenth, the number of streams whose partials come within `bound_ms` at p95, none lost."""

    async def measured(count: int) -> dict[str, Any]:
        row = (await ws_load(url, count, seconds)).row()
        tell(row)
        return row

    return await largest(measured, lambda row: holds(row, bound_ms), most, first=first, step=step)


def holds(row: dict[str, Any], bound_ms: float) -> bool:
    """Whether a run kept the bound: partials in time, no stream failed, every utterance got its final."""
    p95 = row["partial_p95_ms"]
    return p95 is not None and p95 <= bound_ms and not row["errors"] and not row["dropped"]


async def largest(
    measured: Callable[[int], Awaitable[dict[str, Any]]],
    good: Callable[[dict[str, Any]], bool],
    most: int,
    *,
    first: int = 8,
    step: float = 2.0,
) -> tuple[int, list[dict[str, Any]]]:
    """From `first` go by factors of `step` until the limit is between two counts, then halve the distance until it is a
    tenth; 0 where one is too many. Also all rows, by "streams"."""
    holds_at, fails_at, count = 0, most + 1, min(first, most)
    rows = []
    while True:
        rows.append(await measured(count))
        if good(rows[-1]):
            holds_at = count
        else:
            fails_at = count
        if fails_at - holds_at <= max(1, holds_at // 10):
            return holds_at, sorted(rows, key=lambda row: row["streams"])
        if fails_at > most:
            count = min(max(count + 1, round(step * count)), most)
        elif not holds_at:
            count = min(count - 1, round(count / step))
        else:
            count = (holds_at + fails_at) // 2


@dataclass
class Mixed:
    """Live streams alone and beside bulk files, and the bulk files alone and beside the streams."""

    alone: Streams = field(default_factory=Streams)
    beside: Streams = field(default_factory=Streams)
    bulk_alone: Load = field(default_factory=Load)
    bulk_beside: Load = field(default_factory=Load)

    def rows(self, bulk: int) -> list[dict[str, Any]]:
        return [
            {"load": "streams alone", **self.alone.row()},
            {"load": f"streams beside {bulk} bulk clients", **self.beside.row()},
        ]

    def late(self, percent: int) -> float:
        """Percentile of partials beside bulk over alone."""
        beside, alone = (percentile_ms(one.partial, percent) for one in (self.beside, self.alone))
        return (beside or math.nan) / (alone or math.nan)

    def bulk_share(self) -> float:
        """Bulk files' seconds of audio a second beside live streams, over alone."""
        return (self.bulk_beside.row()["rtfx"] or math.nan) / (self.bulk_alone.row()["rtfx"] or math.nan)

    def errors(self) -> int:
        return sum(len(one.errors) for one in (self.alone, self.beside, self.bulk_alone, self.bulk_beside))


async def mixed(url: str, streams: int, bulk: int, files: list[Upload], seconds: float, into: Mixed) -> None:
    """The same live streams alone, and beside `bulk` clients that post files without a pause; the bulk alone too, for
    half as long, which tells its rate as well."""
    await ws_load(url, streams, seconds, into=into.alone)
    await http_load(url, files, bulk, seconds / 2, into=into.bulk_alone)
    await asyncio.gather(
        http_load(url, files, bulk, seconds + 2, into=into.bulk_beside),
        ws_load(url, streams, seconds, into=into.beside),
    )
