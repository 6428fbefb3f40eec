"""A live stream to Triton: audio in, captions out, by tritonclient; it goes on where its server was lost.

python -m perf.live_client ADDRESS FILE          a file at the pace of a microphone
python -m perf.live_client ADDRESS -             raw 16-bit 16 kHz mono from a pipe, such as arecord's:
arecord -q -f S16_LE -r 16000 -c 1 -t raw | python -m perf.live_client 127.0.0.1:8001 -
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc.aio as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from frontend.triton.journal import Journal
from perf.grpc_client import explained

CHUNK = 1_600
# What a request is refused with that is at fault itself: no other server would take it.
INVALID = "INVALID_ARGUMENT: "
# A model that was lost is back within seconds, a server within some more.
PATIENCE_S, PAUSE_S = 60.0, 0.3
# A process that died leaves requests unanswered: so long an end waits for the next event.
SILENCE_S = 20.0
_sequences = itertools.count(int.from_bytes(os.urandom(6), "little") + 1)


class LiveClient:
    """One session: `send` chunks, iterate over `events`; the last is `closed`. An async context manager."""

    def __init__(self, url: str, model: str = "asr_stream") -> None:
        self._client = triton.InferenceServerClient(url)
        self._model = model
        self._sequence = next(_sequences)
        self._requests: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._started = False

    async def __aenter__(self) -> LiveClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._requests.put_nowait(None)
        await self._client.close()

    def send(self, pcm: NDArray[Any] | None = None, *, end: bool = False, **parameters: Any) -> None:
        """Queue the next chunk (float32 or int16, any length), and settings or a command as parameters."""
        inputs = []
        if pcm is not None and pcm.size:
            name = "PCM16" if pcm.dtype == np.int16 else "PCM"
            inputs = [triton.InferInput(name, [pcm.size], np_to_triton_dtype(pcm.dtype))]
            inputs[0].set_data_from_numpy(pcm)
        self._requests.put_nowait(
            {
                "model_name": self._model,
                "inputs": inputs,
                "sequence_id": self._sequence,
                "sequence_start": not self._started,
                "sequence_end": end,
                "parameters": parameters or None,
            }
        )
        self._started = True

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """What the session says, until it is closed. Raises tritonclient's InferenceServerException for a refusal."""

        async def requests() -> AsyncIterator[dict[str, Any]]:
            while (request := await self._requests.get()) is not None:
                yield request

        async for result, error in self._client.stream_infer(requests()):
            if error is not None:
                raise error
            event = result.as_numpy("EVENT")
            if event is None or not event.size:
                continue
            yield (said := json.loads(event[0]))
            if said["type"] == "closed":
                self._requests.put_nowait(None)
                return


class LastingClient:
    """A session that outlasts its server: `send` chunks, iterate over `events`. An async context manager.

    What has no final yet is kept, with its place in the session. Where the session is lost, it is sent again as a new
    sequence; that one's events are told in the times and numbers of the first, and nothing twice.
    """

    def __init__(self, url: str, model: str = "asr_stream") -> None:
        self._url = url
        self._model = model
        self._journal = Journal()
        self._stream: LiveClient | None = LiveClient(url, model)
        self._ended = False

    async def __aenter__(self) -> LastingClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._abandon()

    def send(self, pcm: NDArray[Any] | None = None, *, end: bool = False, **parameters: Any) -> None:
        """Queue the next chunk (float32 or int16, any length; sent as int16), and settings or a command."""
        shorts = np.empty(0, dtype="<i2") if pcm is None else _as_int16(pcm)
        self._journal.note(shorts.tobytes(), parameters, end=end)
        self._ended = end
        if self._stream is not None:
            self._stream.send(shorts, end=end, **parameters)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """What the session says, and `resumed` where it went on in another one. Raises InferenceServerException or
        grpc.aio.AioRpcError for a refusal, and where the server does not come back."""
        opened, lost_at = False, 0.0
        while True:
            try:
                assert self._stream is not None
                events = self._stream.events()
                while (event := await self._next(events)) is not None:
                    if _is_lost(event):
                        break
                    if event["type"] == "opened":
                        event, opened, lost_at = {"type": "resumed" if opened else "opened"}, True, 0.0
                    if (told := self._journal.told(event)) is not None:
                        yield told
                    if event["type"] == "closed":
                        return
                error: Exception = InferenceServerException("the session is lost")
            except (InferenceServerException, grpc.aio.AioRpcError) as failed:
                error = failed
                if isinstance(failed, InferenceServerException) and failed.message().startswith(INVALID):
                    raise
            now = time.monotonic()
            lost_at = lost_at or now
            if not opened or now - lost_at > PATIENCE_S:
                raise error
            await self._abandon()
            await asyncio.sleep(PAUSE_S)
            # Nothing of the client's comes between these requests and its next one.
            stream = LiveClient(self._url, self._model)
            for sent in self._journal.again():
                stream.send(np.frombuffer(sent.pcm16, dtype="<i2"), end=sent.end, **sent.parameters)
            self._stream = stream

    async def _next(self, events: AsyncIterator[dict[str, Any]]) -> dict[str, Any] | None:
        """The next event; None where none can come any more."""
        waiting = asyncio.ensure_future(anext(events, None))
        try:
            while not (await asyncio.wait([waiting], timeout=SILENCE_S))[0]:
                # While chunks are sent, the next one is answered with an error.
                if self._ended:
                    return None
            return waiting.result()
        finally:
            waiting.cancel()

    async def _abandon(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.__aexit__()


def _as_int16(pcm: NDArray[Any]) -> NDArray[np.int16]:
    return pcm.astype("<i2") if pcm.dtype == np.int16 else np.round(np.clip(pcm, -1, 1) * 32_767).astype("<i2")


def _is_lost(event: dict[str, Any]) -> bool:
    """Whether the session is over without its end: the model does not know it, or was unloaded."""
    unknown = event["type"] == "error" and event["code"] == "session_unknown"
    return unknown or (event["type"] == "closed" and event["reason"] == "cancelled")


async def captions(url: str, source: str, **settings: Any) -> None:
    """Print stable text as it is, unstable text faint, finals on lines of their own."""
    async with LastingClient(url) as client:
        speaking = asyncio.create_task(_microphone(client, source, settings))
        try:
            await _print_captions(client)
            await speaking
        finally:
            speaking.cancel()


async def _print_captions(client: LastingClient) -> None:
    async for event in client.events():
        if event["type"] == "partial":
            print(f"\r\033[K{event['stable']}\033[2m{event['unstable']}\033[0m", end="", flush=True)
        elif event["type"] == "final":
            print(f"\r\033[K{event['start']:7.2f} {event['end']:7.2f}  {event['text']}")
        elif event["type"] == "error":
            print(f"\r\033[K! {event['message']}", file=sys.stderr)
        elif event["type"] == "resumed":
            print("\r\033[K! the server was lost; what has no final yet is sent again", file=sys.stderr)


async def _microphone(client: LastingClient, source: str, settings: dict[str, Any]) -> None:
    client.send(None, **settings)
    if source == "-":
        while data := await asyncio.to_thread(sys.stdin.buffer.read, 2 * CHUNK):
            client.send(np.frombuffer(data[: len(data) // 2 * 2], dtype=np.int16))
    else:
        from perf.speech.clips import recording

        pcm = recording(Path(source))
        for start in range(0, pcm.size, CHUNK):
            client.send(pcm[start : start + CHUNK])
            await asyncio.sleep(CHUNK / 16_000)
    client.send(None, end=True)


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print("usage: python -m perf.live_client ADDRESS FILE|-", file=sys.stderr)
        return 2
    url, source = arguments
    try:
        asyncio.run(captions(url, source))
    except InferenceServerException as error:
        message = error.message()
    except grpc.aio.AioRpcError as error:
        message = error.details()
    else:
        return 0
    print(f"error: {explained(url, message)}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
