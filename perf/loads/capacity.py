"""The largest number of live streams that holds a bound."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

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
