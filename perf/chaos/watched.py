"""A Triton that heals itself: its clients speak gRPC alone, there is no frontend, and clients ask again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from frontend.settings import Settings
from frontend.triton.client import TritonClient, TritonRefused, TritonUnavailable
from frontend.triton.process import EmbeddedTriton, remove_stale_shared_memory
from perf.chaos.faults import MODELS, Fault
from perf.chaos.ledger import Entry, balance
from perf.chaos.rounds import HEALS_WITHIN_S, LOG_TOLD, STEADY_S, Round, tell
from perf.chaos.victims import processes_of
from perf.live_client import LiveClient
from perf.speech.clips import RECORDINGS, recording
from perf.speech.conversations import SHIPPED

CLIENTS = 4
# A client that is told UNAVAILABLE, or whose call broke, asks again so often a second, for so long.
AGAIN_S, PATIENCE_S = 0.2, 60.0
LIVE_WITHIN_S = 20.0
READY_WITHIN_S = 120.0
FAILED = (TritonUnavailable, TritonRefused, InferenceServerException, TimeoutError, OSError)


@dataclass(frozen=True)
class Watched:
    """url: of Triton. root: the process to look below, which may be another one later. log: what is written of it.
    is_afar: its watcher sees no processes."""

    url: str
    root: Callable[[], int]
    log: Path
    is_afar: bool = False


@contextlib.asynccontextmanager
async def supervised_triton() -> AsyncIterator[Watched]:
    """A Triton as its container runs it, started anew where that ends."""
    with tempfile.TemporaryDirectory(prefix="qwen3-asr-chaos-") as folder:
        key, log = Path(folder) / "control-key", Path(folder) / "log"
        triton = EmbeddedTriton(Settings(cache_dir=Path(folder), triton_grpc_port=0, triton_control_key_file=key))
        own = {"ASR_TRITON_URL": triton.url, "ASR_TRITON_CONTROL_KEY_FILE": str(key)}
        supervisors: list[asyncio.subprocess.Process] = []

        async def restarted() -> None:
            while True:
                with log.open("ab") as file:
                    supervisor = await asyncio.create_subprocess_exec(
                        *(sys.executable, "-m", "frontend.triton.supervisor", *triton.command()),
                        env={**triton.environment(), **own},
                        stdout=file,
                        stderr=file,
                    )
                supervisors.append(supervisor)
                status = await supervisor.wait()
                print(f"    the container ended with status {status}, and is started anew", flush=True)

        restarting = asyncio.create_task(restarted())
        try:
            await _until_well(triton.url, recording(RECORDINGS / "english.flac"), READY_WITHIN_S)
            yield Watched(triton.url, lambda: supervisors[-1].pid, log)
        finally:
            restarting.cancel()
            await asyncio.gather(restarting, return_exceptions=True)
            if supervisors and supervisors[-1].returncode is None:
                supervisors[-1].terminate()
                await supervisors[-1].wait()
            remove_stale_shared_memory()


@contextlib.asynccontextmanager
async def watched_triton() -> AsyncIterator[Watched]:
    """A Triton that somebody else started, and a watcher that knows its secret and not its processes."""
    with tempfile.TemporaryDirectory(prefix="qwen3-asr-chaos-") as folder:
        key, log = Path(folder) / "control-key", Path(folder) / "log"
        triton = EmbeddedTriton(Settings(cache_dir=Path(folder), triton_grpc_port=0, triton_control_key_file=key))
        await triton.start()
        own = {"ASR_TRITON_URL": triton.url, "ASR_TRITON_CONTROL_KEY_FILE": str(key), "ASR_CACHE_DIR": folder}
        with log.open("ab") as file:
            watcher = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "frontend.triton.watcher"), env={**os.environ, **own}, stderr=file
            )
        try:
            # The watcher has seen everything well before anything is hurt.
            await _until_well(triton.url, recording(RECORDINGS / "english.flac"), READY_WITHIN_S)
            yield Watched(triton.url, os.getpid, log, is_afar=True)
        finally:
            watcher.terminate()
            await watcher.wait()
            await triton.stop()


async def watched_rounds(seed: int, models: tuple[str, ...] = MODELS) -> list[Round]:
    """Each model's process killed once and stopped once, in the seed's order. Live clients whose session breaks begin
    it anew."""
    rng = random.Random(f"{seed} watched")
    killed = [(model, signal.SIGKILL) for model in models]
    stopped = [(model, signal.SIGSTOP) for model in models]
    found = []
    for name, server, hurts in (
        ("supervisor", supervised_triton, killed + stopped),
        ("watcher by gRPC", watched_triton, killed),
    ):
        async with server() as triton:
            for model, number in rng.sample(hurts, len(hurts)):
                one = await _round(name, triton, model, number, rng.uniform(1.0, 2.5))
                found.append(one)
                tell(one)
                if one.heal_s is None:
                    print(triton.log.read_text()[-LOG_TOLD:], flush=True)
    return found


async def _round(name: str, triton: Watched, model: str, number: signal.Signals, after_s: float) -> Round:
    pcm = recording(RECORDINGS / "english.flac")
    entries: list[Entry] = []
    stop = asyncio.Event()
    clients = [asyncio.create_task(_files(triton.url, pcm, entries, stop)) for _ in range(CLIENTS)]
    await asyncio.sleep(after_s)
    in_flight = sum(not entry.heard for entry in entries)
    began = time.monotonic()
    processes_of(triton.root(), model)[0].send_signal(number)
    heal_s = None
    with contextlib.suppress(TimeoutError):
        heal_s = await _until_well(triton.url, pcm, HEALS_WITHIN_S) - began
    stop.set()
    await asyncio.gather(*clients)
    fault = Fault(
        f"{name}, {number.name} {model}",
        _nothing,
        (model,),
        is_killed=number is signal.SIGKILL,
        is_afar=triton.is_afar,
    )
    return Round(fault, in_flight, None, heal_s, balance(entries))


async def _files(url: str, pcm: NDArray[np.float32], entries: list[Entry], stop: asyncio.Event) -> None:
    """A clip, again and again; asked again where it failed."""
    client = TritonClient(url)
    try:
        while not stop.is_set():
            entry = Entry("grpc", [SHIPPED["english"]])
            entries.append(entry)
            given_up = time.monotonic() + PATIENCE_S
            while not entry.heard and time.monotonic() < given_up:
                try:
                    entry.heard.append((0, await _text(client, pcm)))
                except FAILED:
                    entry.told_to_wait += 1
                    await asyncio.sleep(AGAIN_S)
    finally:
        await client.close()


async def _until_well(url: str, pcm: NDArray[np.float32], within_s: float) -> float:
    """When a clip and a live session were right for the first time, of all that began after now and stayed so. Raises
    TimeoutError."""
    client = TritonClient(url)
    since: float | None = None
    try:
        async with asyncio.timeout(within_s):
            while since is None or time.monotonic() - since < STEADY_S:
                try:
                    right = (
                        await _text(client, pcm) == SHIPPED["english"] and await _live(url, pcm) == SHIPPED["english"]
                    )
                except FAILED:
                    right = False
                since = (since or time.monotonic()) if right else None
                await asyncio.sleep(0.05)
    finally:
        await client.close()
    return since


async def _text(client: TritonClient, pcm: NDArray[np.float32]) -> str:
    async with asyncio.timeout(LIVE_WITHIN_S):
        deltas = [delta async for delta in client.transcribe(pcm, timeout_s=LIVE_WITHIN_S)]
    return str((deltas[-1].result or {}).get("text"))


async def _live(url: str, pcm: NDArray[np.float32]) -> str:
    """The finals of a session of all samples at once."""
    async with asyncio.timeout(LIVE_WITHIN_S), LiveClient(url) as client:
        client.send(pcm)
        client.send(None, end=True)
        return " ".join([event["text"] async for event in client.events() if event["type"] == "final"])


async def _nothing(_: object) -> None:
    """It is done by hand here: there is no stage."""
