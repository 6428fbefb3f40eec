"""Live streams alone and beside bulk work, and the bulk work alone and beside the streams."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from perf.loads.apart import WEBSOCKET, Speakers, speaking_apart
from perf.loads.hearing import Streams
from perf.loads.load import Load, percentile_ms

CHUNK_MS = 100
# Bulk work begins before the streams speak and ends after them.
AROUND_S = 1.0
# Asks for work without a pause for so many seconds, and counts it.
Bulk = Callable[[float, Load], Awaitable[Any]]


@dataclass
class Mixed:
    """Of all turns together."""

    alone: Streams = field(default_factory=Streams)
    beside: Streams = field(default_factory=Streams)
    bulk_alone: Load = field(default_factory=Load)
    bulk_beside: Load = field(default_factory=Load)

    def rows(self, bulk: str) -> list[dict[str, Any]]:
        """bulk: what it is, in words."""
        return [
            {"load": "streams alone", **self.alone.row()},
            {"load": f"streams beside {bulk}", **self.beside.row()},
        ]

    def late(self, percent: int) -> float:
        """Percentile of partials beside bulk over alone."""
        beside, alone = (percentile_ms(one.partial, percent) for one in (self.beside, self.alone))
        return (beside or math.nan) / (alone or math.nan)

    def bulk_share(self) -> float:
        """Bulk's seconds of audio a second beside live streams, over alone."""
        return (self.bulk_beside.row()["rtfx"] or math.nan) / (self.bulk_alone.row()["rtfx"] or math.nan)

    def errors(self) -> int:
        return sum(len(one.errors) for one in (self.alone, self.beside, self.bulk_alone, self.bulk_beside))

    def figures(self, prefix: str) -> dict[str, float]:
        """p50_ratio, p95_ratio, bulk_kept, and what they are ratios of."""
        named: dict[str, float | None] = {
            "p50_ratio": self.late(50),
            "p95_ratio": self.late(95),
            "bulk_kept": self.bulk_share(),
            "errors": self.errors(),
            "lost_finals": self.alone.dropped + self.beside.dropped,
            "bulk_rtfx_alone": self.bulk_alone.row()["rtfx"],
            "bulk_rtfx_beside": self.bulk_beside.row()["rtfx"],
        }
        for name, streams in (("alone", self.alone), ("beside", self.beside)):
            for kind, seconds in (("partial", streams.partial), ("after_pause", streams.pause)):
                for percent in (50, 95):
                    named[f"{kind}_p{percent}_ms_{name}"] = percentile_ms(seconds, percent)
        return {f"{prefix}{name}": value for name, value in named.items() if value is not None}


async def mixed(url: str, streams: int, bulk: Bulk, seconds: float, into: Mixed) -> None:
    """One turn: the streams alone, bulk alone for half as long, which tells its rate as well, and both together.

    url: of the frontend. The streams are in a process of their own, which bulk's clients do not delay.
    """
    speakers = Speakers(WEBSOCKET, url, streams, seconds, CHUNK_MS)
    async with speaking_apart(speakers) as speaking:
        into.alone.add((await speaking.spoken()).streams)
    await bulk(seconds / 2, into.bulk_alone)
    working = asyncio.ensure_future(bulk(seconds + 2 * AROUND_S, into.bulk_beside))
    try:
        await asyncio.sleep(AROUND_S)
        async with speaking_apart(speakers) as speaking:
            into.beside.add((await speaking.spoken()).streams)
        await working
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
