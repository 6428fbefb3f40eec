"""Somebody who behaves, beside all that: a live stream and a file, again and again, and what they heard."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field

import httpx
import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from frontend.triton.client import TritonClient
from perf.chaos.ledger import Entry
from perf.chaos.traffic import CHUNK, GONE, PACE, RATE_HZ, Lost, Talk, by_file

Span = tuple[int, int]


@dataclass
class Beside:
    """A talk, and all that was said of it: a list of each session's events; texts of the file; what went wrong."""

    url: str
    talk: Talk
    sessions: list[list[dict[str, object]]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    async def live(self, stop: asyncio.Event) -> None:
        """One session after the other, each to its end."""
        while not stop.is_set():
            events: list[dict[str, object]] = []
            try:
                async with asyncio.timeout(120):
                    await self._session(events)
            except (OSError, WebSocketException, TimeoutError) as error:
                self.errors.append(f"the stream: {error!r}")
                await asyncio.sleep(0.5)
            self.sessions.append(events)

    async def files_again(self, stop: asyncio.Event) -> None:
        flac = self.talk.flac()
        async with httpx.AsyncClient(timeout=120) as client:
            while not stop.is_set():
                entry = Entry("file", [])
                try:
                    await by_file(self.url, self.talk, entry, client, flac)
                except (*GONE, Lost) as error:
                    self.errors.append(f"the file: {error!r}")
                self.files += [text for _, text in entry.heard]
                await asyncio.sleep(0.3)

    async def _session(self, events: list[dict[str, object]]) -> None:
        shorts = self.talk.shorts
        async with connect(
            self.url.replace("http", "ws", 1) + "/ws/transcribe", open_timeout=30, max_size=None
        ) as socket:

            async def speak() -> None:
                for start in range(0, shorts.size, CHUNK):
                    await socket.send(shorts[start : start + CHUNK].tobytes())
                    await asyncio.sleep(CHUNK / RATE_HZ / PACE)
                await socket.send('{"action": "end"}')

            speaking = asyncio.create_task(speak())
            try:
                # One by one: what was heard stays where the session breaks.
                async for message in socket:
                    events.append(json.loads(message))  # noqa: PERF401
            finally:
                speaking.cancel()
                with contextlib.suppress(asyncio.CancelledError, WebSocketException):
                    await speaking

    async def judged(self, triton: str) -> dict[str, int]:
        """Asks `asr` what each span of samples says that a partial or final had: they have to be the same; the finals
        those of an undisturbed session, each once; the file's text likewise."""
        told = [event for events in self.sessions for event in events if event["type"] in ("partial", "final")]
        spans = {_span(event) for event in told}
        pcm = self.talk.shorts.astype(np.float32) / 32_768
        offline: dict[Span, str] = {}
        client = TritonClient(triton)
        try:
            for start, end in sorted(spans):
                deltas = client.transcribe(pcm[start:end], timeout_s=60, parameters={"vad": "off"})
                last = [delta async for delta in deltas][-1]
                offline[start, end] = last.result["text"] if last.result else ""
        finally:
            await client.close()
        wrong = [event for event in told if event["text"] != offline[_span(event)]]
        self.errors += [
            f"{event['type']} {_span(event)}: {event['text']!r} for {offline[_span(event)]!r}" for event in wrong
        ]
        for events in self.sessions:
            finals = [event["text"] for event in events if event["type"] == "final"]
            if finals != self.talk.texts["ws"]:
                wrong.append({"type": "session"})
                self.errors.append(f"a session's finals: {finals} for {self.talk.texts['ws']}")
            odd = [event["type"] for event in events if event["type"] in ("error", "resumed")]
            self.errors += [f"the stream met an event {kind}" for kind in odd]
        wrong_files = [text for text in self.files if [text] != self.talk.texts["file"]]
        self.errors += [f"the file: {text!r}" for text in wrong_files]
        return {
            "partials": sum(event["type"] == "partial" for event in told),
            "sessions": len(self.sessions),
            "files": len(self.files),
            "wrong": len(wrong) + len(wrong_files),
        }


def _span(event: dict[str, object]) -> Span:
    start, end = event["start_sample"], event["end_sample"]
    assert isinstance(start, int)
    assert isinstance(end, int)
    return start, end
