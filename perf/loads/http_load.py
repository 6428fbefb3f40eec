"""HTTP clients that post files, each as soon as it has its answer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from tqdm import tqdm

from perf.loads.load import Load

ROUTE = "/v1/audio/transcriptions"


@dataclass(frozen=True)
class Upload:
    """A file as it is sent, and its seconds."""

    name: str
    data: bytes
    seconds: float


def uploads(paths: list[Path]) -> list[Upload]:
    from perf.speech.clips import recording

    return [Upload(path.name, path.read_bytes(), recording(path).size / 16_000) for path in paths]


async def http_load(
    url: str, files: list[Upload], clients: int, seconds: float, *, stream: bool = False, into: Load | None = None
) -> Load:
    """Keep `clients` requests under way for so many seconds. into: added to as requests end, for whoever interrupts or
    counts several runs together."""
    load = into if into is not None else Load()
    source = itertools.cycle(files)
    end = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    with tqdm(total=round(seconds), desc=f"{clients} clients", leave=False, unit="s") as progress:
        async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as http:
            before, started = load.seconds, time.monotonic()
            clock = asyncio.create_task(_clock(progress, load, before, started))
            try:
                await asyncio.gather(*(_client(http, source, end, stream, load) for _ in range(clients)))
            finally:
                clock.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await clock
                load.seconds = before + time.monotonic() - started
    return load


async def _clock(progress: tqdm, load: Load, before: float, started: float) -> None:
    while True:
        await asyncio.sleep(0.25)
        gone = time.monotonic() - started
        load.seconds = before + gone
        progress.update(min(progress.total, round(gone)) - progress.n)


async def _client(http: httpx.AsyncClient, source: Iterator[Upload], end: float, stream: bool, load: Load) -> None:
    while time.monotonic() < end:
        file = next(source)
        started = time.monotonic()
        try:
            await (_streamed if stream else _whole)(http, file, started, load)
        except (httpx.HTTPError, RuntimeError) as error:
            load.errors.append(str(error) or repr(error))
            await asyncio.sleep(0.1)
            continue
        load.latencies.append(time.monotonic() - started)
        load.audio_seconds += file.seconds


async def _whole(http: httpx.AsyncClient, file: Upload, started: float, load: Load) -> None:
    answer = await http.post(ROUTE, files={"file": (file.name, file.data)}, data={"model": "whisper-1"})
    if answer.status_code != httpx.codes.OK:
        raise RuntimeError(f"{answer.status_code}: {answer.text[:200]}")


async def _streamed(http: httpx.AsyncClient, file: Upload, started: float, load: Load) -> None:
    data = {"model": "whisper-1", "stream": "true"}
    done = False
    async with http.stream("POST", ROUTE, files={"file": (file.name, file.data)}, data=data) as answer:
        if answer.status_code != httpx.codes.OK:
            raise RuntimeError(f"{answer.status_code}: {(await answer.aread())[:200]!r}")
        first = True
        async for line in answer.aiter_lines():
            if not line.startswith("data: "):
                continue
            event = json.loads(line.removeprefix("data: "))
            if event["type"] == "error":
                raise RuntimeError(event["error"]["message"])
            if first:
                load.first_texts.append(time.monotonic() - started)
                first = False
            done = event["type"] == "transcript.text.done"
    if not done:
        raise RuntimeError("the stream ended without its last event")
