"""Clients as users have them, live and with files, that note in a ledger what they send and hear."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import soundfile
from numpy.typing import NDArray
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from perf.chaos.ledger import Entry
from perf.speech.conversations import RATE_HZ, conversation

CHUNK = RATE_HZ // 10
# Faster than speech, so that a fault meets more of it; slow enough that a step falls between two chunks.
PACE = 2.5
TO_WAIT = (408, 429, 503, 507)
PATIENCE_S = 120.0
# What a client sees of a frontend that is gone.
GONE = (OSError, WebSocketException, httpx.TransportError)


@dataclass(frozen=True)
class Talk:
    """shorts int16 [samples], 16 kHz, and the texts of its utterances as each entrance has them undisturbed."""

    shorts: NDArray[np.int16]
    texts: dict[str, list[str]] = field(default_factory=dict)

    def flac(self) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, self.shorts, RATE_HZ, format="FLAC")
        return file.getvalue()


class Lost(Exception):
    """The session ended otherwise than it should."""


async def over_websocket(url: str, talk: Talk, entry: Entry, pace: float = PACE) -> None:
    """A live session of /ws/transcribe. Raises what GONE names, or Lost."""
    stable: dict[int, str] = {}
    async with connect(_address(url, "/ws/transcribe"), open_timeout=30, max_size=None) as socket:

        async def hear() -> None:
            async for message in socket:
                event = json.loads(message)
                if event["type"] in ("partial", "final"):
                    number = event["utterance"]
                    kept = event["text"].startswith(stable.get(number, ""))
                    if not kept and not event.get("revised"):
                        entry.taken_back += 1
                    stable[number] = event["stable"]
                    if event["type"] == "final":
                        entry.heard.append((number - 1, event["text"]))
                elif event["type"] == "error":
                    raise Lost(f"ws: {event['message']}")
                elif event["type"] == "closed":
                    return
            raise Lost("ws: it ended without a word")

        async def speak() -> None:
            for start in range(0, talk.shorts.size, CHUNK):
                await socket.send(talk.shorts[start : start + CHUNK].tobytes())
                await asyncio.sleep(CHUNK / RATE_HZ / pace)
            await socket.send(json.dumps({"action": "end"}))

        await _both(hear(), speak())


async def over_realtime(url: str, talk: Talk, entry: Entry, pace: float = PACE) -> None:
    """A Realtime transcription session with turn detection. Raises what GONE names, or Lost."""
    items: list[str] = []
    told: dict[str, str] = {}
    # An undisturbed one tells how many there are.
    most = len(entry.expected) or 10_000
    async with connect(_address(url, "/v1/realtime"), open_timeout=30, max_size=None) as socket:

        async def hear() -> None:
            async for message in socket:
                event = json.loads(message)
                kind = event["type"]
                if kind == "input_audio_buffer.committed":
                    items.append(event["item_id"])
                elif kind.endswith("input_audio_transcription.delta"):
                    told[event["item_id"]] = told.get(event["item_id"], "") + event["delta"]
                elif kind.endswith("input_audio_transcription.completed"):
                    item = event["item_id"]
                    if not event["transcript"].startswith(told.get(item, "")):
                        entry.taken_back += 1
                    entry.heard.append((items.index(item), event["transcript"]))
                    if len(entry.heard) >= most:
                        return
                elif kind == "error" or kind.endswith("failed"):
                    raise Lost(f"realtime: {event['error']['message']}")
            raise Lost("realtime: it ended without a word")

        async def speak() -> None:
            sound = {"format": {"type": "audio/pcm", "rate": RATE_HZ}}
            session = {"type": "transcription", "audio": {"input": sound}}
            await socket.send(json.dumps({"type": "session.update", "session": session}))
            for start in range(0, talk.shorts.size, CHUNK):
                audio = base64.b64encode(talk.shorts[start : start + CHUNK].tobytes()).decode()
                await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
                await asyncio.sleep(CHUNK / RATE_HZ / pace)
            if not entry.expected:
                # Nobody knows yet how many turns there are.
                await asyncio.sleep(3.0)
                await socket.close()

        try:
            await _both(hear(), speak())
        except (ConnectionClosed, Lost):
            if entry.expected:
                raise


async def by_file(url: str, talk: Talk, entry: Entry, client: httpx.AsyncClient, content: bytes) -> None:
    """A file, some of them streamed; told to wait, it waits as OpenAI's clients do. Raises what GONE names, Lost."""
    streamed = bool(len(content) % 2)
    while True:
        form = {
            "files": {"file": ("talk.flac", content)},
            "data": {"model": "whisper-1", "stream": str(streamed).lower()},
        }
        async with client.stream("POST", f"{url}/v1/audio/transcriptions", **form) as answer:  # type: ignore[arg-type]
            if answer.status_code in TO_WAIT and "retry-after" in answer.headers:
                entry.told_to_wait += 1
                await answer.aread()
                await asyncio.sleep(min(5.0, float(answer.headers["retry-after"])))
                continue
            if answer.status_code != 200:
                raise Lost(f"file: {answer.status_code} {(await answer.aread()).decode()[:200]}")
            if not streamed:
                entry.heard.append((0, json.loads(await answer.aread())["text"]))
                return
            deltas = ""
            async for line in answer.aiter_lines():
                if not line.startswith("data:") or line == "data: [DONE]":
                    continue
                event = json.loads(line.removeprefix("data:"))
                if event["type"] == "transcript.text.delta":
                    deltas += event["delta"]
                elif event["type"] == "transcript.text.done":
                    entry.taken_back += deltas != event["text"]
                    entry.heard.append((0, event["text"]))
                    return
                else:
                    raise Lost(f"file: {line[:200]}")
            raise Lost("file: the stream ended in the middle")


@dataclass
class Traffic:
    """So many clients of each kind, one session or file after the other, until they are told to stop."""

    url: str
    talks: list[Talk]
    sockets: int = 3
    realtime: int = 2
    files: int = 3
    # A text or a number, never its hash: that is another one in every process.
    seed: str | int = 0
    # Of live sound, over that of speech.
    pace: float = PACE

    def __post_init__(self) -> None:
        self.entries: list[Entry] = []
        self.open = 0
        self._seconds: dict[int, float] = {}
        self._stop = asyncio.Event()
        self._clients: list[asyncio.Task[None]] = []
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(PATIENCE_S, connect=5.0))
        self._flacs = [talk.flac() for talk in self.talks]

    def start(self) -> None:
        kinds = ["ws"] * self.sockets + ["realtime"] * self.realtime + ["file"] * self.files
        self._clients = [asyncio.create_task(self._client(kind, self.rng(number))) for number, kind in enumerate(kinds)]

    def rng(self, client: int) -> random.Random:
        """What a client of this number does, and when."""
        return random.Random(f"{self.seed} {client}")

    def seconds(self, entry: Entry) -> float:
        """Of the talk that an entry is about."""
        return self._seconds[id(entry)]

    async def stop(self) -> list[Entry]:
        """When each has ended what it does; returns what they all noted."""
        self._stop.set()
        await asyncio.gather(*self._clients)
        await self._http.aclose()
        return self.entries

    async def _client(self, kind: str, rng: random.Random) -> None:
        await asyncio.sleep(rng.uniform(0.0, 1.0))
        while not self._stop.is_set():
            number = rng.randrange(len(self.talks))
            talk = self.talks[number]
            entry = Entry(kind, talk.texts[kind])
            self.entries.append(entry)
            self._seconds[id(entry)] = talk.shorts.size / RATE_HZ
            self.open += 1
            try:
                await self._one(kind, number, talk, entry)
            except Lost as error:
                entry.errors.append(str(error))
                # Somebody that is refused at once does not come again at once.
                await asyncio.sleep(1.0)
            except Exception as error:
                entry.errors.append(f"{kind}: {error!r}")
            self.open -= 1

    async def _one(self, kind: str, number: int, talk: Talk, entry: Entry) -> None:
        async def trial() -> None:
            if kind == "ws":
                await over_websocket(self.url, talk, entry, self.pace)
            elif kind == "realtime":
                await over_realtime(self.url, talk, entry, self.pace)
            else:
                await by_file(self.url, talk, entry, self._http, self._flacs[number])

        await until_done(trial, entry)


async def until_done(trial: Callable[[], Coroutine[Any, Any, None]], entry: Entry) -> None:
    """With its frontend gone, a client begins its session or file anew: nothing of it is kept but by the client. Raises
    Lost, TimeoutError."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await trial()
            except GONE as error:
                entry.errors.append(f"{entry.kind}: {error!r}")
                entry.again()
                await asyncio.sleep(0.3)


async def prepared(url: str, count: int, seed: int) -> list[Talk]:
    """Conversations of two or three utterances, each heard once undisturbed by every entrance."""
    talks = []
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        for number in range(count):
            pcm = conversation(2 + number % 2, 900 + 31 * seed + number).pcm
            talk = Talk(np.round(pcm * 32_767).astype("<i2"))
            for kind in ("ws", "realtime", "file"):
                entry = Entry(kind, [])
                if kind == "ws":
                    await over_websocket(url, talk, entry)
                elif kind == "realtime":
                    await over_realtime(url, talk, entry)
                else:
                    await by_file(url, talk, entry, client, talk.flac())
                talk.texts[kind] = [text for _, text in sorted(entry.heard)]
            talks.append(talk)
    return talks


async def _both(hear: Coroutine[Any, Any, None], speak: Coroutine[Any, Any, None]) -> None:
    """Until all is heard; speaking ends with it, whatever it was at."""
    hearing, speaking = asyncio.create_task(hear), asyncio.create_task(speak)
    try:
        await asyncio.wait([hearing, speaking], return_when=asyncio.FIRST_EXCEPTION)
        if speaking.done() and not hearing.done():
            # The session says by itself why nothing more could be sent.
            await asyncio.wait_for(hearing, 30)
        await hearing
    finally:
        for task in (hearing, speaking):
            task.cancel()
        await asyncio.gather(hearing, speaking, return_exceptions=True)


def _address(url: str, path: str) -> str:
    return url.replace("http", "ws", 1) + path
