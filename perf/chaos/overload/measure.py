"""Ten times the load that can be sustained, beside live streams that were there before."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass, field
from typing import Any

from perf.chaos.hostile.forms import posted
from perf.chaos.overload.generator import Answers, Target, ask, elsewhere
from perf.chaos.stage import Stage
from perf.loads.hearing import Streams
from perf.loads.load import percentile_ms
from perf.loads.ws_load import ws_load
from perf.speech.clips import RECORDINGS
from perf.speech.conversations import SHIPPED

TIMES = 10
# As an operator sets it who wants live speech to stay quick beside files: what is worked on at a time keeps Triton
# busy, and no live step waits behind more of it.
SETTINGS = {"ASR_MAX_UPLOADS": str(4 * (os.cpu_count() or 1))}
CLIENTS = (2, 4, 8, 16)
STREAMS = 4
# Somebody of normal priority asks now and then: what a refusal takes, without the generator's own waiting for a core.
ASKS_EVERY_S = 0.1
PROBE_PATIENCE_S = 5.0


@dataclass
class Overload:
    """live: seconds of partials of the streams by phase: alone, N clients, overload. probes: of the one who asks now
    and then, during the overload."""

    closed: dict[int, Answers] = field(default_factory=dict)
    flood: Answers = field(default_factory=Answers)
    probes: Answers = field(default_factory=Answers)
    live: dict[str, list[float]] = field(default_factory=dict)
    streams: Streams = field(default_factory=Streams)

    @property
    def peak(self) -> float:
        """Right answers a second, the most of all closed loops."""
        return max((len(one.right) / one.seconds for one in self.closed.values()), default=0.0)

    @property
    def sustainable(self) -> int:
        """The fewest clients with whom the peak is reached, but for noise: more of them only wait for each other."""
        return min((n for n, one in self.closed.items() if len(one.right) / one.seconds >= 0.9 * self.peak), default=0)

    def figures(self) -> dict[str, Any]:
        flood, probes = self.flood, self.probes
        goodput = len(flood.right) / flood.seconds if flood.seconds else 0.0
        alone, sustained, loaded = (
            percentile_ms(self.live.get(one, []), 95) for one in ("alone", f"{self.sustainable} clients", "overload")
        )
        return {
            "chaos.peak_goodput": self.peak,
            "chaos.sustainable_clients": self.sustainable,
            "chaos.goodput_at_10x": goodput / self.peak if self.peak else None,
            "chaos.offered_per_s": (flood.sent + flood.unsent) / flood.seconds if flood.seconds else 0.0,
            "chaos.offered_unsent": flood.unsent,
            "chaos.generator_lag_ms_p95": percentile_ms(flood.lag_s, 95),
            "chaos.refused_at_10x": len(flood.refused),
            "chaos.refused_without_retry_after": flood.without_retry_after + probes.without_retry_after,
            "chaos.neither_at_10x": sum(flood.other.values()) + sum(probes.other.values()),
            "chaos.refusal_ms_p95": percentile_ms(probes.refused, 95),
            "chaos.refusal_ms_p95_generator": percentile_ms(flood.refused, 95),
            "chaos.right_ms_p95_at_10x": percentile_ms(flood.right, 95),
            "chaos.live_ms_p95_alone": alone,
            "chaos.live_ms_p95_sustained": sustained,
            "chaos.live_ms_p95_at_10x": loaded,
            # Over the load that can be sustained; and over nobody else at all.
            "chaos.live_latency_ratio": _over(loaded, sustained),
            "chaos.live_latency_ratio_to_alone": _over(loaded, alone),
            "chaos.live_errors_at_10x": len(self.streams.errors),
            "chaos.live_dropped_at_10x": max(0, self.streams.spoken - len(self.streams.final)),
        }

    @property
    def is_good(self) -> bool:
        told = self.figures()
        bounds = (("chaos.refusal_ms_p95", 100.0), ("chaos.live_latency_ratio", 1.5))
        holds = all(told[name] is not None and told[name] <= most for name, most in bounds)
        return holds and (told["chaos.goodput_at_10x"] or 0.0) >= 0.8 and not self.streams.errors


async def overload(stage: Stage, seconds: float = 60.0, each_s: float = 10.0) -> Overload:
    """seconds: of the flood. each_s: of every closed loop before it, and twice that of the streams alone."""
    found = Overload()
    data = (RECORDINGS / "english.flac").read_bytes()
    posting = posted("/v1/audio/transcriptions", [("model", b"whisper-1")], "file", data, "audio/flac")
    target = Target(stage.port, posting.pieces[0], json.dumps(SHIPPED["english"]).encode())
    warm = Answers()
    await ask(target, warm)
    if not warm.right:
        raise RuntimeError(f"the file is not transcribed as it should be: {warm.other}")
    length = 2 * each_s + len(CLIENTS) * (each_s + 1.0) + seconds + 5.0
    streaming = asyncio.create_task(ws_load(stage.url, STREAMS, length, found.streams))
    try:
        # All of them have begun, and hear their first words.
        await asyncio.sleep(4.0)
        await _phase(found, "alone", asyncio.sleep(2 * each_s))
        for clients in CLIENTS:
            await _phase(found, f"{clients} clients", _sustained(found, target, clients, each_s))
        await _phase(found, "overload", _flood(found, target, seconds))
    finally:
        # Their finals are waited for: what was admitted is not dropped.
        await asyncio.wait([streaming], timeout=length)
        streaming.cancel()
        await asyncio.gather(streaming, return_exceptions=True)
    return found


async def _phase(found: Overload, name: str, doing: Any) -> None:
    """Partials that come meanwhile are the phase's."""
    before = len(found.streams.partial)
    await doing
    found.live[name] = found.streams.partial[before:]


async def _sustained(found: Overload, target: Target, clients: int, seconds: float) -> None:
    found.closed[clients] = await elsewhere(target, seconds=seconds, clients=clients)


async def _flood(found: Overload, target: Target, seconds: float) -> None:
    probing = asyncio.create_task(
        _probe(found.probes, Target(target.port, target.request, target.text, PROBE_PATIENCE_S))
    )
    try:
        found.flood = await elsewhere(target, seconds=seconds, rate=TIMES * found.peak)
    finally:
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)


async def _probe(answers: Answers, target: Target) -> None:
    async with asyncio.TaskGroup() as asking:
        while True:
            asking.create_task(ask(target, answers))
            await asyncio.sleep(ASKS_EVERY_S)


def _over(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None
