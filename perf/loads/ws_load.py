"""Live streams over WebSocket, each at the pace of speech: how late text is, how often it is revised, what is lost."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from perf.loads.load import percentile_ms
from perf.loads.revisions import revised
from perf.speech.conversations import RATE_HZ, Conversation, conversation

CHUNK = 1_600
LATE_S = 1.0


@dataclass
class Streams:
    """What all streams of a run heard. Seconds; `partial` from the arrival of a partial's last sample, `final` from the
    arrival of the utterance's last sample (the pause that ends it is in it), `first` from its first sample to its
    first partial."""

    streams: int = 0
    first: list[float] = field(default_factory=list)
    partial: list[float] = field(default_factory=list)
    final: list[float] = field(default_factory=list)
    audio_seconds: float = 0.0
    spoken: int = 0
    words_told: int = 0
    words_revised: int = 0
    finals_revised: int = 0
    errors: list[str] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """stability: share of words in partials that the next text of the utterance kept."""
        stability = 1 - self.words_revised / self.words_told if self.words_told else None
        return {
            "streams": self.streams,
            "first_p50_ms": percentile_ms(self.first, 50),
            "partial_p50_ms": percentile_ms(self.partial, 50),
            "partial_p95_ms": percentile_ms(self.partial, 95),
            "partial_p99_ms": percentile_ms(self.partial, 99),
            "final_p50_ms": percentile_ms(self.final, 50),
            "final_p95_ms": percentile_ms(self.final, 95),
            "stability": stability,
            "late": sum(one > LATE_S for one in self.partial),
            "dropped": max(0, self.spoken - len(self.final)),
            "errors": len(self.errors),
        }


async def ws_load(url: str, count: int, seconds: float, into: Streams | None = None) -> Streams:
    """`count` streams of so many seconds, begun at different moments; url: of the frontend."""
    found = into if into is not None else Streams()
    found.streams = count
    talks = [conversation(max(1, round(seconds / 5)), 500 + number) for number in range(min(count, 8))]
    started = time.monotonic() + 0.3
    address = url.replace("http", "ws", 1) + "/ws/transcribe"
    length = max(min(talk.pcm.size, int(seconds * RATE_HZ)) for talk in talks) / RATE_HZ
    with tqdm(total=count, desc=f"{count} streams of {length:.0f} s", leave=False) as progress:

        async def one(number: int) -> None:
            talk = talks[number % len(talks)]
            try:
                await _stream(address, talk, int(seconds * RATE_HZ), started + number / count, found)
            except (OSError, WebSocketException, asyncio.TimeoutError) as error:
                found.errors.append(repr(error))
            progress.update()

        await asyncio.gather(*(one(number) for number in range(count)))
    return found


async def _stream(address: str, talk: Conversation, most: int, begin: float, found: Streams) -> None:
    shorts = np.round(talk.pcm[:most] * 32_767).astype("<i2")
    arrived: list[float] = []
    async with connect(address, compression=None, max_size=None) as socket:

        async def speak() -> None:
            for number, start in enumerate(range(0, shorts.size, CHUNK)):
                await asyncio.sleep(max(0.0, begin + (number + 1) * CHUNK / RATE_HZ - time.monotonic()))
                arrived.append(time.monotonic())
                await socket.send(shorts[start : start + CHUNK].tobytes())
            await socket.send(json.dumps({"action": "end"}))

        speaking = asyncio.create_task(speak())
        try:
            await asyncio.wait_for(_listen(socket, arrived, found), talk.pcm.size / RATE_HZ + 60)
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
    found.audio_seconds += shorts.size / RATE_HZ


async def _listen(socket: Any, arrived: list[float], found: Streams) -> None:
    def since(sample: int) -> float:
        return time.monotonic() - arrived[min(len(arrived), -(-sample // CHUNK)) - 1]

    before: list[str] = []
    async for message in socket:
        event = json.loads(message)
        if event["type"] == "speech_started":
            found.spoken += 1
            before = []
        elif event["type"] in ("partial", "final"):
            words = event["text"].split()
            found.words_revised += revised(before, words)
            if event["type"] == "partial":
                if not before:
                    found.first.append(since(event["start_sample"] + 1))
                found.partial.append(since(event["end_sample"]))
                found.words_told += len(words)
                before = words
            else:
                found.final.append(since(event["end_sample"]))
                found.finals_revised += bool(event["revised"])
        elif event["type"] == "error":
            found.errors.append(event["message"])
        elif event["type"] == "closed":
            return
