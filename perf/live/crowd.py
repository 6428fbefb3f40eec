"""A thousand live sessions that are open at the same time and speak a tenth of it: memory, latencies, what is lost."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import psutil

from perf.live.processes import part_of
from perf.loads.apart import WEBSOCKET, Speakers, speaking_apart
from perf.loads.load import percentile_ms, table
from perf.repository import change
from perf.service import running_service

SHARE, CHUNK_MS = 0.1, 100
# Since the first of them speaks: all are open, and each has spoken.
MEASURED_AFTER_S = 30.0


def measure(streams: int, seconds: float) -> dict[str, float]:
    """Figures live.crowd_*: of so many WebSockets that are open for so many seconds. Each sends an utterance and its
    pause, then nothing, as a muted microphone does. Memory is proportional set size, in megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        change(Path(folder), "asr_stream", max_sessions=str(streams))
        with running_service(
            ASR_MODEL_REPOSITORY=folder, ASR_MODEL_CONFIG_NAME="default", ASR_MAX_LIVE_SESSIONS=str(streams)
        ) as service:
            speakers = Speakers(WEBSOCKET, service.url, streams, seconds, CHUNK_MS, SHARE)
            return asyncio.run(_measured(service.pid, speakers))


async def _measured(pid: int, speakers: Speakers) -> dict[str, float]:
    empty = await asyncio.to_thread(memory_mb, pid)
    async with speaking_apart(speakers) as speaking:
        wait_s = min(MEASURED_AFTER_S, speakers.seconds / 2)
        await asyncio.sleep(max(0.0, speaking.begin + wait_s - time.monotonic()))
        full = await asyncio.to_thread(memory_mb, pid)
        spoken = await speaking.spoken()
    heard = spoken.streams
    print(f"{table([heard.row()])}\n")
    rows = [{"process": part, "MB before": empty.get(part, 0.0), "MB with all open": mb} for part, mb in full.items()]
    print(f"{table(rows)}\n", flush=True)
    if heard.errors:
        print(f"{len(heard.errors)} errors, first: {heard.errors[0]}", flush=True)
    figures: dict[str, float] = {
        "live.crowd_streams": speakers.streams,
        "live.crowd_seconds": speakers.seconds,
        "live.crowd_audio_share": heard.audio_seconds / (speakers.streams * speakers.seconds),
        "live.crowd_utterances": heard.spoken,
        "live.crowd_lost_finals": heard.dropped,
        "live.crowd_errors": len(heard.errors),
        "live.crowd_memory_mb": sum(full.values()),
        "live.crowd_memory_before_mb": sum(empty.values()),
    }
    for name, seconds in (("partial", heard.partial), ("final", heard.final), ("after_pause", heard.pause)):
        for percent in (50, 95):
            figures[f"live.crowd_{name}_p{percent}_ms"] = percentile_ms(seconds, percent) or 0.0
    return figures | {f"live.crowd_memory_mb_{part}": mb for part, mb in full.items()}


def memory_mb(pid: int) -> dict[str, float]:
    """Proportional set size of a service's processes, by part."""
    found: dict[str, float] = {}
    service = psutil.Process(pid)
    for process in (service, *service.children(recursive=True)):
        part = part_of(process.cmdline())
        found[part] = found.get(part, 0.0) + process.memory_full_info().pss / 1e6
    return found
