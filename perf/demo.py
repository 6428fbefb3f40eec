"""make demo: everything started, one recording transcribed four ways, as heard and as written, everything stopped."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.stamp import Stamp
from frontend.audio.decoding import decode
from frontend.settings import Settings
from perf.grpc_client import transcribe
from perf.service import Service, ServiceFailed, running_service

RECORDINGS = Path(__file__).parent / "recordings"
EXPECTED = {"english.flac": "four two seven nine zero one five", "chinese.flac": "三八零二六"}
WRITTEN = {"english.flac": "4279015", "chinese.flac": "38026"}


def demo() -> int:
    """Returns 0 where every way gave the right transcript; of another checkpoint than tiny it is not known, and what is
    heard is shown alone."""
    stamp = Stamp.read(Settings().model_repository / "decoder" / "1" / "checkpoint")
    model = stamp.name if stamp is not None else "an unknown checkpoint"
    print(f"Starting Triton and the frontend with {model} ...", flush=True)
    try:
        with running_service() as service:
            print(f"Ready after {service.ready_s:.1f} s at {service.url}\n")
            right = [_by_openai(service), _by_curl(service), _by_grpc(service), _live(service)]
            print("Stopping ...", flush=True)
    except ServiceFailed as error:
        print(error)
        return 1
    if model != "tiny":
        print("Done. (Only of tiny it is known what it hears.)")
        return 0
    print("Done." if all(right) else "A transcript is wrong.")
    return 0 if all(right) else 1


def _by_openai(service: Service) -> bool:
    from openai import OpenAI

    print("1. OpenAI's own Python client:")
    client = OpenAI(base_url=f"{service.url}/v1", api_key="none")
    right = []
    for name, expected in EXPECTED.items():
        path = RECORDINGS / name
        seconds = _pcm(path).size / 16_000
        started = time.monotonic()
        with path.open("rb") as file:
            text = client.audio.transcriptions.create(model="whisper-1", file=file).text
        print(f"   {name}: {text}   ({seconds:.1f} s of audio in {time.monotonic() - started:.2f} s)")
        asked = {"text_format": "written"}
        with path.open("rb") as file:
            written = client.audio.transcriptions.create(model="whisper-1", file=file, extra_body=asked).text
        print(f"   {' ' * len(name)}  {written}   (text_format=written)")
        right += [text == expected, written == WRITTEN[name]]
    print()
    return all(right)


def _by_curl(service: Service) -> bool:
    path = RECORDINGS / "english.flac"
    command = ["curl", "-sS", f"{service.url}/v1/audio/transcriptions", "-F", f"file=@{path}", "-F", "model=whisper-1"]
    print(f"2. curl:\n   $ {' '.join(command)}")
    if shutil.which("curl") is None:
        print("   (curl is not installed)\n")
        return True
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    print(f"   {answer}\n")
    return EXPECTED[path.name] in answer


def _by_grpc(service: Service) -> bool:
    url = service.health()["triton"]["url"]
    print(f"3. tritonclient, a gRPC stream straight from Triton at {url}:\n   ", end="")
    pcm = _pcm(RECORDINGS / "english.flac")
    started = time.monotonic()
    result: dict[str, Any] = {}
    for delta, final in transcribe(url, pcm):
        print(f"[{delta}]" if delta else "", end="", flush=True)
        result = final or result
    elapsed = time.monotonic() - started
    print(f"\n   language {result['language']}, {pcm.size / 16_000:.1f} s of audio in {elapsed:.2f} s")
    print(f"   in the decoder, in ms: {result['timings_ms']}\n")
    return bool(result["text"] == EXPECTED["english.flac"])


def _live(service: Service) -> bool:
    print("4. live, at the pace of a microphone, over a WebSocket:")
    url = service.url.replace("http", "ws") + "/ws/transcribe?partial_interval_ms=400&text_format=written"
    finals = asyncio.run(_captions(url))
    return finals == [(EXPECTED["english.flac"], WRITTEN["english.flac"])]


async def _captions(url: str) -> list[tuple[str, str]]:
    """Print what a live session says of a recording; returns its finals, as they are recognized and written."""
    from websockets.asyncio.client import connect

    data = (_pcm(RECORDINGS / "english.flac") * 32_767).astype("<i2").tobytes()
    finals: list[tuple[str, str]] = []
    async with connect(url) as ws:

        async def speak() -> None:
            for start in range(0, len(data), 3_200):
                await ws.send(data[start : start + 3_200])
                await asyncio.sleep(0.1)
            await ws.send('{"action": "end"}')

        speaking = asyncio.create_task(speak())
        async for message in ws:
            event = json.loads(message)
            if event["type"] == "partial":
                print(f"   {event['end']:5.2f} s  {event['stable']}[{event['unstable']}]", flush=True)
            elif event["type"] == "final":
                recognized = event.get("recognized", event["text"])
                finals.append((recognized, event["text"]))
                print(f"   {event['end']:5.2f} s  {recognized}   (final)")
                print(f"            {event['text']}   (as it is written)\n", flush=True)
        await speaking
    return finals


def _pcm(path: Path) -> NDArray[np.float32]:
    with path.open("rb") as file:
        return decode(file, max_seconds=60)
