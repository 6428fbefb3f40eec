"""Live streams over WebSocket, each at the pace of speech: how late text is, how often it is revised, what is lost."""

from __future__ import annotations

import asyncio
import json

from tqdm import tqdm
from websockets.exceptions import WebSocketException

from perf.loads.hearing import PATIENCE_S, Hearing, Stream, Streams, Turn, run_streams, speak
from perf.loads.socket import Socket
from perf.loads.turns import talk_turns
from perf.speech.conversations import RATE_HZ

CHUNK_MS = 100
FAILURES = (OSError, WebSocketException, asyncio.TimeoutError)


class WsStream:
    """A live session of the frontend's; what fails is counted in `found`."""

    def __init__(self, address: str, found: Streams, chunk_ms: int = CHUNK_MS) -> None:
        """address: of the WebSocket route."""
        self._address = address
        self._found = found
        self._chunk = chunk_ms * RATE_HZ // 1_000
        self._hearing = Hearing(found)
        self._over = asyncio.Event()
        self._socket: Socket | None = None

    async def open(self) -> None:
        try:
            socket = Socket(self._address, self._told)
            await socket.open()
        except FAILURES as error:
            self._found.errors.append(repr(error))
            return
        socket.closed.add_done_callback(lambda _: self._over.set())
        self._socket = socket

    async def run(self, turns: list[Turn], begin: float) -> None:
        socket = self._socket
        if socket is None:
            return
        try:
            await speak(turns, self._chunk, begin, self._hearing, lambda shorts: socket.send(shorts.tobytes()))
            socket.send(json.dumps({"action": "end"}))
            await asyncio.wait_for(self._over.wait(), PATIENCE_S)
        except FAILURES as error:
            self._found.errors.append(repr(error))
        finally:
            socket.close()

    def _told(self, message: str) -> None:
        if not self._hearing.heard(json.loads(message)):
            self._over.set()


async def ws_load(
    url: str, count: int, seconds: float, into: Streams | None = None, *, chunk_ms: int = CHUNK_MS
) -> Streams:
    """`count` streams of so many seconds, begun at different moments; url: of the frontend."""
    found = into if into is not None else Streams()
    streams: list[Stream] = [WsStream(live_address(url), found, chunk_ms) for _ in range(count)]
    with tqdm(total=count, desc=f"{count} streams of {seconds:g} s", leave=False) as progress:
        await run_streams(streams, talk_turns(count, seconds), found, done=progress.update)
    return found


def live_address(url: str) -> str:
    """The WebSocket route of the frontend at `url`."""
    return url.rstrip("/").replace("http", "ws", 1) + "/ws/transcribe"
