"""Live streams from a process of their own: what they cost is apart from what is measured meanwhile.

python -m perf.loads.apart SPEAKERS      as JSON; started by `speaking_apart`
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass

import uvloop

from frontend.triton.client import TritonClient
from perf.loads.grpc_load import GrpcStream
from perf.loads.hearing import Stream, Streams, run_streams
from perf.loads.turns import crowd_turns, talk_turns
from perf.loads.ws_load import WsStream, live_address

WEBSOCKET, GRPC = "websocket", "grpc"
BEGIN_WITHIN_S, END_WITHIN_S = 180.0, 180.0
# Bytes of what they say in the end, which is one line.
MOST_TOLD = 2**28


@dataclass(frozen=True)
class Speakers:
    """address: of the frontend, or of Triton's gRPC. share: of the time in which each sends sound; 1: all of it."""

    way: str
    address: str
    streams: int
    seconds: float
    chunk_ms: int
    share: float = 1.0


@dataclass(frozen=True)
class Spoken:
    """What the speakers heard, and seconds of a processor that they took themselves."""

    streams: Streams
    client_cpu_s: float


class SpeakersFailed(RuntimeError):
    """The process of the speakers did not do its work; it has said why on its stderr."""


class Speaking:
    """A process of speakers that have begun, at the monotonic time `begin`."""

    def __init__(self, process: asyncio.subprocess.Process, speakers: Speakers, begin: float) -> None:
        self._process = process
        self._seconds = speakers.seconds
        self.begin = begin

    async def spoken(self) -> Spoken:
        """What they have heard, once all of them have ended. Raises SpeakersFailed."""
        told = json.loads(await _line(self._process, self._seconds + END_WITHIN_S))
        return Spoken(Streams(**told["streams"]), told["client_cpu_s"])


@contextlib.asynccontextmanager
async def speaking_apart(speakers: Speakers) -> AsyncIterator[Speaking]:
    """Once all of their sessions are open; none of them lives longer than this. Raises SpeakersFailed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "perf.loads.apart", json.dumps(asdict(speakers)),
        stdout=asyncio.subprocess.PIPE, limit=MOST_TOLD,
    )  # fmt: skip
    try:
        yield Speaking(process, speakers, float(await _line(process, BEGIN_WITHIN_S)))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _line(process: asyncio.subprocess.Process, within_s: float) -> bytes:
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), within_s)
    except asyncio.TimeoutError as error:
        raise SpeakersFailed(f"the speakers said nothing within {within_s:g} s") from error
    if not line:
        raise SpeakersFailed(f"the speakers ended without their figures, with {await process.wait()}")
    return line


async def _speak(speakers: Speakers) -> None:
    found = Streams()
    turns_of = talk_turns if speakers.share == 1 else crowd_turns
    turns = turns_of(speakers.streams, speakers.seconds, speakers.share)
    client = None
    streams: list[Stream]
    if speakers.way == GRPC:
        client = TritonClient(speakers.address)
        streams = [GrpcStream(client, found, speakers.chunk_ms) for _ in turns]
    else:
        streams = [WsStream(live_address(speakers.address), found, speakers.chunk_ms) for _ in turns]
    try:
        before = _cpu_s()
        await run_streams(streams, turns, found, begun=lambda begin: print(begin, flush=True))
        print(json.dumps({"streams": asdict(found), "client_cpu_s": _cpu_s() - before}), flush=True)
    finally:
        if client is not None:
            await client.close()


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    uvloop.run(_speak(Speakers(**json.loads(sys.argv[1]))))
