"""What the frontend costs: beside direct gRPC, at rest, at start, and over a long file."""

from __future__ import annotations

import asyncio
import functools
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
from tqdm import tqdm
from websockets.asyncio.client import connect

from frontend.triton.client import TritonClient
from perf.results import write_json
from perf.service import Service, running_service
from perf.speech.clips import RECORDINGS, recording

CLIP = RECORDINGS / "english.flac"
CLIENTS = (1, 8, 32)


class HttpClient:
    """One kept connection that posts the same upload: a client library would cost more than the frontend does."""

    def __init__(self, url: str, name: str, sound: bytes) -> None:
        self._address = urlsplit(url)
        self._request = _upload(self._address.netloc, name, sound)

    async def __aenter__(self) -> HttpClient:
        self._reader, self._writer = await asyncio.open_connection(self._address.hostname, self._address.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def transcribe(self) -> str:
        self._writer.write(self._request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length"))
        body = json.loads(await self._reader.readexactly(length))
        if " 200 " not in head.split("\r\n")[0]:
            raise RuntimeError(f"the frontend answered {body}")
        return str(body["text"])


def benchmark(quick: bool, json_path: Path | None) -> int:
    """Print and write the figures."""
    figures: dict[str, float] = {}
    with running_service(ASR_LOAD="first_request") as service:
        time.sleep(1.0)
        figures["frontend.ready_s"] = service.ready_s
        figures["frontend.idle_rss_mb"] = psutil.Process(service.pid).memory_info().rss / 1e6
    with running_service() as service:
        figures |= asyncio.run(_beside_grpc(service, quick))
        figures |= _long_file(service, 2 if quick else 10)
        figures |= asyncio.run(_idle_sockets(service, 100 if quick else 500))
    figures |= asyncio.run(_cycles(3 if quick else 20))
    for name, value in figures.items():
        print(f"{name:44}{value:10.3f}")
    write_json(json_path, figures)
    return 0


async def _beside_grpc(service: Service, quick: bool) -> dict[str, float]:
    """The HTTP route and direct gRPC in turn, on the same clip: as 16-bit WAV and as FLAC, which has to be decoded.

    gRPC is asked as a client asks by itself, text in deltas, and (`_at_end`) for all of it at the end, as the route
    does where nobody wants a stream.
    """
    pcm = recording(CLIP)
    grpc = TritonClient(service.health()["triton"]["url"])
    uploads = {"http": ("a.wav", _wave(pcm)), "flac": (CLIP.name, CLIP.read_bytes())}

    async def by_grpc(**parameters: str | int | float | bool) -> str:
        text = ""
        async for delta in grpc.transcribe(pcm, parameters=parameters):
            text = delta.result["text"] if delta.result is not None else text
        return text

    at_end = functools.partial(by_grpc, deltas=False)
    async with HttpClient(service.url, *uploads["http"]) as wave, HttpClient(service.url, *uploads["flac"]) as flac:
        ways: dict[str, Callable[[], Awaitable[str]]]
        ways = {"http": wave.transcribe, "flac": flac.transcribe, "grpc": by_grpc, "at_end": at_end}
        texts = {await ask() for ask in ways.values()}
        if len(texts) != 1:
            raise RuntimeError(f"HTTP and gRPC answer differently: {texts}")
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in tqdm(range(60 if quick else 300), desc="overhead", leave=False):
            for way, ask in ways.items():
                times[way].append(await _seconds(ask))
    p50, p95 = ({way: 1_000 * float(np.percentile(spent, p)) for way, spent in times.items()} for p in (50, 95))
    figures = {
        "frontend.overhead_ms_p50": p50["http"] - p50["grpc"],
        "frontend.overhead_ms_p95": p95["http"] - p95["grpc"],
        "frontend.overhead_flac_ms_p50": p50["flac"] - p50["grpc"],
        "frontend.overhead_at_end_ms_p50": p50["http"] - p50["at_end"],
        "frontend.grpc_ms_p50": p50["grpc"],
    }
    for clients in CLIENTS:
        rates: dict[str, list[float]] = {"http": [], "grpc": [], "at_end": []}
        connections = [await HttpClient(service.url, *uploads["http"]).__aenter__() for _ in range(clients)]
        for _ in range(2 if quick else 5):
            each = max(4, 96 // clients)
            rates["http"].append(await _rate([one.transcribe for one in connections], each))
            rates["grpc"].append(await _rate([by_grpc] * clients, each))
            rates["at_end"].append(await _rate([at_end] * clients, each))
        for one in connections:
            await one.__aexit__()
        http, streamed, whole = (float(np.median(rates[way])) for way in ("http", "grpc", "at_end"))
        figures[f"frontend.share_of_grpc_rps_x{clients}"] = http / streamed
        figures[f"frontend.share_of_grpc_rps_at_end_x{clients}"] = http / whole
    await grpc.close()
    figures["frontend.share_of_grpc_rps"] = min(figures[f"frontend.share_of_grpc_rps_x{n}"] for n in CLIENTS)
    return figures


def _long_file(service: Service, minutes: int) -> dict[str, float]:
    """Time to the first text of a long file over server-sent events, as a share of the whole."""
    pcm = recording(CLIP)
    whole = np.tile(pcm, -(-minutes * 60 * 16_000 // pcm.size))[: minutes * 60 * 16_000]
    wave = _wave(whole)
    started = time.monotonic()
    first = 0.0
    words = 0
    with httpx.stream(
        "POST",
        f"{service.url}/v1/audio/transcriptions/stream",
        files={"file": ("long.wav", wave)},
        timeout=1_200,
    ) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                event = json.loads(line[6:])
                first = first or time.monotonic() - started
                words = len(event.get("text", "").split())
    total = time.monotonic() - started
    if words < minutes * 60:
        raise RuntimeError(f"{words} words in {minutes} minutes")
    return {
        "frontend.ttft_share_10min": first / total,
        "frontend.ttft_s_10min": first,
        "frontend.file_minutes": minutes,
        "frontend.file_rtfx": minutes * 60 / total,
    }


async def _idle_sockets(service: Service, count: int) -> dict[str, float]:
    """Memory of the frontend for each open WebSocket on which nobody speaks."""
    process = psutil.Process(service.pid)
    url = service.url.replace("http", "ws") + "/ws/transcribe"
    sockets = [await connect(url) for _ in range(10)]
    before = process.memory_info().rss
    for start in range(10, count, 50):
        sockets += await asyncio.gather(*(connect(url) for _ in range(min(50, count - start))))
    await asyncio.sleep(1.0)
    grown = process.memory_info().rss - before
    await asyncio.gather(*(one.close() for one in sockets))
    return {"frontend.idle_sockets": count, "frontend.kb_per_idle_socket": grown / 1e3 / (count - 10)}


async def _cycles(count: int) -> dict[str, float]:
    """Triton given up and loaded again under traffic: every request is answered, and memory comes back."""
    answered = 0
    with running_service(ASR_LOAD="first_request", ASR_IDLE_TIMEOUT="0.3") as service:
        async with httpx.AsyncClient(base_url=service.url, timeout=120) as client:

            async def ask() -> None:
                nonlocal answered
                files = {"file": ("a.flac", CLIP.read_bytes())}
                answer = await client.post("/v1/audio/transcriptions", files=files, data={"model": "whisper-1"})
                answer.raise_for_status()
                answered += 1

            memory: list[float] = []
            for _ in tqdm(range(count), desc="load and unload", leave=False):
                await asyncio.gather(*(ask() for _ in range(4)))
                while service.tritons():
                    await asyncio.sleep(0.05)
                memory.append(psutil.Process(service.pid).memory_info().rss / 1e6)
    return {
        "frontend.unload_cycles": count,
        "frontend.unload_answered": answered,
        "frontend.unload_memory_growth_mb": memory[-1] - memory[0],
    }


async def _seconds(ask: Callable[[], Awaitable[str]]) -> float:
    started = time.monotonic()
    await ask()
    return time.monotonic() - started


async def _rate(askers: list[Callable[[], Awaitable[str]]], each: int) -> float:
    """Requests a second of several clients, each of which asks again as soon as it has its answer."""

    async def client(ask: Callable[[], Awaitable[str]]) -> None:
        for _ in range(each):
            await ask()

    started = time.monotonic()
    await asyncio.gather(*(client(ask) for ask in askers))
    return len(askers) * each / (time.monotonic() - started)


def _upload(host: str, name: str, sound: bytes) -> bytes:
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--{boundary}\r\n'
    head += f'Content-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: audio/x-any\r\n\r\n'
    body = head.encode() + sound + f"\r\n--{boundary}--\r\n".encode()
    request = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
    return f"{request}Content-Type: multipart/form-data; boundary={boundary}\r\n\r\n".encode() + body


def _wave(pcm: np.ndarray) -> bytes:
    import io
    import wave

    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(np.round(pcm * 32_767).astype("<i2").tobytes())
    return file.getvalue()
