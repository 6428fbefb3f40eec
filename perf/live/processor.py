"""Where a live stream's milliseconds go: processor time for a second of one stream, by process and by thread, while
many streams speak at their pace through the WebSocket and through gRPC. The clients' own is not counted."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from perf.live.arguments import CHUNKS_MS
from perf.live.processes import FRONTEND, WATCHER, WORKER, Used, used
from perf.loads.apart import GRPC, WEBSOCKET, Speakers, Spoken, speaking_apart
from perf.loads.load import percentile_ms, table
from perf.service import Service

STREAMS = 32
ENDS = {WEBSOCKET: "", GRPC: "_grpc"}
# Sessions have begun and are past their first words; and, at the end, none has ended yet.
SETTLE_S, MARGIN_S = 4.0, 2.0
THREADS = 12
# Parts that are one process in every service, and those that were in services without the setting `processes`.
SINGLE = ("decoder", WATCHER)
SINGLE_ONCE = ("asr_stream", FRONTEND)


@dataclass(frozen=True)
class Turned:
    """What was used in one turn, in seconds, for so many seconds of streams; and what the streams heard."""

    used: Used
    streams_s: float
    spoken: Spoken

    @property
    def cpu_ms(self) -> float:
        """Of all processes, for a second of a stream."""
        return self.ms(sum(self.used.parts.values()))

    def ms(self, seconds: float) -> float:
        return 1_000 * seconds / self.streams_s


async def measure(
    services: dict[str, Service],
    seconds: float,
    chunks_ms: tuple[int, ...] = CHUNKS_MS,
    ways: tuple[str, ...] = (WEBSOCKET, GRPC),
    streams: int = STREAMS,
    turns: int = 3,
) -> dict[str, float]:
    """Figures live.cpu_ms_per_stream_s and live.busiest_thread_ms_per_stream_s, with _grpc for clients of Triton
    itself, _20ms and _100ms for other chunks, then the end that a service has; and by part
    live.cpu_ms_per_stream_s_PART and, of what can be had once, live.alone_ms_per_stream_s_PART.

    services: by the end of their figures' names. seconds: of streams that are counted in a turn. turns: of each
    service, one after the other's; the one with the least processor time counts, which the machine's other work has
    lengthened least.
    """
    figures: dict[str, float] = {"live.processor_streams": streams}
    for way in ways:
        for chunk_ms in chunks_ms:
            found: dict[str, list[Turned]] = {name: [] for name in services}
            for _ in range(turns):
                for name, service in services.items():
                    address = service.url if way == WEBSOCKET else service.grpc_url()
                    speakers = Speakers(way, address, streams, SETTLE_S + seconds + MARGIN_S, chunk_ms)
                    found[name].append(await _turn(service.pid, speakers, seconds))
            end = ENDS[way] if chunk_ms == CHUNKS_MS[0] else f"{ENDS[way]}_{chunk_ms}ms"
            for name, service in services.items():
                best = min(found[name], key=lambda turn: turn.cpu_ms)
                single = SINGLE if service.takes("processes") else (*SINGLE, *SINGLE_ONCE)
                print(
                    f"\n{streams} streams, chunks of {chunk_ms} ms, {way}{name}:\n\n{_tables(best, single)}", flush=True
                )
                figures |= {f"live.{key}{end}{name}": value for key, value in _figures(best, single).items()}
    return figures


async def _turn(pid: int, speakers: Speakers, seconds: float) -> Turned:
    async with speaking_apart(speakers) as speaking:
        await asyncio.sleep(speaking.begin + SETTLE_S - time.monotonic())
        started, before = time.monotonic(), await asyncio.to_thread(used, pid)
        await asyncio.sleep(seconds)
        spent, lasted_s = (await asyncio.to_thread(used, pid)).since(before), time.monotonic() - started
        spoken = await speaking.spoken()
    if spoken.streams.errors:
        raise RuntimeError(f"{len(spoken.streams.errors)} streams failed, first: {spoken.streams.errors[0]}")
    return Turned(spent, speakers.streams * lasted_s, spoken)


def _single(turn: Turned, single: tuple[str, ...]) -> tuple[str, ...]:
    """A service of several processes has one more that is alone, their master."""
    return (*single, FRONTEND) if turn.used.counts[WORKER] else single


def _figures(turn: Turned, single: tuple[str, ...]) -> dict[str, float]:
    alone = {name: turn.ms(seconds) for name, seconds in turn.used.alone_s(_single(turn, single)).items()}
    heard = turn.spoken.streams
    figures = {
        "cpu_ms_per_stream_s": turn.cpu_ms,
        "busiest_thread_ms_per_stream_s": max(alone.values()),
        "network_ms_per_stream_s": turn.ms(turn.used.network_s),
        "processor_partials_per_stream_s": len(heard.partial) / heard.audio_seconds,
        "processor_partial_p95_ms": percentile_ms(heard.partial, 95) or 0.0,
    }
    figures |= {f"cpu_ms_per_stream_s_{part}": turn.ms(seconds) for part, seconds in turn.used.parts.items()}
    return figures | {f"alone_ms_per_stream_s_{name}": value for name, value in alone.items()}


def _tables(turn: Turned, single: tuple[str, ...]) -> str:
    parts, counts = turn.used.parts, turn.used.counts
    alone = turn.used.alone_s(_single(turn, single))
    rows: list[dict[str, Any]] = [
        {
            "process": name,
            "processes": counts[name],
            "ms a stream's second": turn.ms(seconds),
            "of what is alone": turn.ms(alone[name]) if name in alone else None,
        }
        for name, seconds in parts.items()
    ]
    rows.append({"process": "all", "processes": sum(counts.values()), "ms a stream's second": turn.cpu_ms})
    numbers: Counter[tuple[str, str]] = Counter()
    threads: list[dict[str, Any]] = []
    for thread, seconds in turn.used.busiest(THREADS):
        numbers[thread.part, thread.name] += 1
        threads.append(
            {
                "thread of": thread.part,
                "name": f"{thread.name} {numbers[thread.part, thread.name]}",
                "ms a stream's second": turn.ms(seconds),
            }
        )
    heard = turn.spoken.streams
    row = heard.row()
    told = (
        f"partials {len(heard.partial) / heard.audio_seconds:.2f} a second, p95 {_ms(row['partial_p95_ms'])}; "
        f"finals after the pause p50 {_ms(row['after_pause_p50_ms'])}, p95 {_ms(row['after_pause_p95_ms'])}; the "
        f"clients' own {1_000 * turn.spoken.client_cpu_s / heard.audio_seconds:.1f} ms are not counted"
    )
    return f"{table(rows)}\n\n{table(threads)}\n\n{told}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"
