"""`python -m perf replicas`: three Tritons, one of them killed and each of them drained under load, with a ledger."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from frontend.triton.client import TritonClient
from perf.chaos.ledger import Balance, balance
from perf.chaos.traffic import Talk, Traffic, prepared
from perf.loads.load import table
from perf.replicas.stage import Stage, all_ready, staged
from perf.results import write_json
from perf.speech.clips import RECORDINGS, recording

SERVERS = 3
# Two cores are enough for them: live streams at the pace of speech.
SOCKETS, REALTIME, FILES, PACE = 5, 2, 2, 1.0
# How long a server that was killed is gone before somebody starts it again.
GONE_S = 3.0
# Sessions that are open at the same time, for how even they are; they say nothing.
OPEN, SILENCE_BYTES = 60, 6_400
ROUNDS, WARM_UP = 120, 6


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, help="write the figures here, as one flat object")
    parser.add_argument("--seed", type=int, default=0, help="of what clients say")
    parser.add_argument("--quick", action="store_true", help="a short run")


def run(arguments: Namespace) -> int:
    """Three embedded Tritons behind one frontend: kill one under live and file load, start it again, drain each in
    turn, and keep books of every utterance and file; how even live sessions are; what a request costs more than with
    one server. The exit status is 1 where anything was lost, doubled or wrong."""
    return asyncio.run(_run(arguments))


async def _run(arguments: Namespace) -> int:
    async with staged(SERVERS) as stage:
        talks = await prepared(stage.url, 1 if arguments.quick else 2, arguments.seed)
        killed, back_s = await _killed(stage, talks, arguments.seed)
        moved_by_kill = stage.num_moved()
        drained, drain_s = await _drained(stage, talks, arguments.seed)
        imbalance, counts = await _imbalance(stage)
        over_grpc = await _overhead(stage, ROUNDS // 4 if arguments.quick else ROUNDS)
        moved = stage.num_moved()
    _tell("one of three is killed", killed)
    _tell("each is drained in turn", drained)
    print(f"{OPEN} live sessions over {SERVERS} servers: {counts}")
    figures = {
        "replicas.answers": killed.answers + drained.answers,
        "replicas.lost": killed.lost,
        "replicas.doubled": killed.doubled + drained.doubled,
        "replicas.wrong": killed.wrong + drained.wrong,
        "replicas.moved": moved,
        "replicas.moved_by_kill": moved_by_kill,
        "replicas.back_s": back_s,
        "replicas.drain_lost": drained.lost,
        "replicas.drain_s_max": max(drain_s),
        "replicas.imbalance": imbalance,
        "replicas.over_grpc_ms_one": over_grpc["one"],
        "replicas.over_grpc_ms_three": over_grpc["three"],
        "replicas.frontend_overhead_ms": over_grpc["both"],
    }
    for name, figure in figures.items():
        print(f"{name} {figure:g}")
    write_json(arguments.json, figures)
    return 0 if killed.is_clean and drained.is_clean else 1


async def _killed(stage: Stage, talks: list[Talk], seed: int) -> tuple[Balance, float]:
    """The last server is killed with all its processes, and started again; what became of everything, and how long
    after its start it had work."""
    victim = SERVERS - 1
    traffic = _traffic(stage, talks, f"{seed} kill")
    await stage.until(lambda told: told[victim]["live_sessions"] > 0)
    await asyncio.sleep(2.0)
    stage.kill(victim)
    await stage.until(lambda told: told[victim]["state"] == "lost")
    await asyncio.sleep(GONE_S)
    await stage.start_again(victim)
    began = time.monotonic()
    before = (await stage.servers())[victim]["begun"]
    await stage.until(lambda told: all(told[victim]["begun"][kind] > count for kind, count in before.items()))
    back_s = time.monotonic() - began
    return balance(await traffic.stop()), back_s


async def _drained(stage: Stage, talks: list[Talk], seed: int) -> tuple[Balance, list[float]]:
    """One after the other, and back again; and the seconds until nothing was under way there."""
    traffic = _traffic(stage, talks, f"{seed} drain")
    seconds = []
    for number in range(SERVERS):
        await stage.until(lambda told, number=number: told[number]["live_sessions"] > 0)  # type: ignore[misc]
        stage.weigh(*(float(other != number) for other in range(SERVERS)))
        seconds.append(await stage.until(lambda told, number=number: told[number]["state"] == "drained"))  # type: ignore[misc]
        stage.weigh(*[1.0] * SERVERS)
        await stage.until(all_ready)
    return balance(await traffic.stop()), seconds


def _traffic(stage: Stage, talks: list[Talk], seed: str) -> Traffic:
    traffic = Traffic(stage.url, talks, SOCKETS, REALTIME, FILES, seed, PACE)
    traffic.start()
    return traffic


async def _imbalance(stage: Stage) -> tuple[float, list[int]]:
    """(max - min) / mean of live sessions, all open at the same time."""
    address = stage.url.replace("http", "ws", 1) + "/ws/transcribe"
    await stage.until(lambda told: all_ready(told) and not any(one["live_sessions"] for one in told))
    open_: list[ClientConnection] = []
    try:
        for _ in range(OPEN):
            socket = await connect(address, open_timeout=30)
            open_.append(socket)
            await socket.send(bytes(SILENCE_BYTES))
        counts = [int(one["live_sessions"]) for one in await stage.servers()]
    finally:
        await asyncio.gather(*(socket.close() for socket in open_))
    return (max(counts) - min(counts)) / statistics.mean(counts), counts


async def _overhead(stage: Stage, rounds: int) -> dict[str, float]:
    """Milliseconds at p50 that a file by HTTP takes longer than by gRPC straight from the same servers: before one
    server, before all, in turns, and the difference of both."""
    content, pcm = (RECORDINGS / "english.flac").read_bytes(), recording(RECORDINGS / "english.flac")
    await stage.until(lambda told: all_ready(told) and not any(one["live_sessions"] for one in told))
    direct = [TritonClient(triton.url) for triton in stage.tritons]
    times: dict[str, list[float]] = {name: [] for name in ("one", "one_grpc", "three", "three_grpc")}
    async with httpx.AsyncClient(timeout=60) as client:

        async def post(url: str) -> None:
            form = {"files": {"file": ("a.flac", content)}, "data": {"model": "whisper-1"}}
            (await client.post(f"{url}/v1/audio/transcriptions", **form)).raise_for_status()  # type: ignore[arg-type]

        async def ask(server: TritonClient) -> None:
            async for _ in server.transcribe(pcm, parameters={"deltas": False}):
                pass

        for number in range(rounds + WARM_UP):
            asked = {
                "one": post(stage.alone.url),
                "one_grpc": ask(direct[0]),
                "three": post(stage.url),
                "three_grpc": ask(direct[number % SERVERS]),
            }
            # Whoever comes first finds the caches of the one before.
            for name in random.Random(number).sample(sorted(asked), len(asked)):
                began = time.perf_counter()
                await asked[name]
                times[name].append(1_000 * (time.perf_counter() - began))
    await asyncio.gather(*(server.close() for server in direct))
    # Of each round by itself: the machine is another one a minute later.
    over = {
        name: [http - grpc for http, grpc in zip(times[name], times[f"{name}_grpc"], strict=True)][WARM_UP:]
        for name in ("one", "three")
    }
    both = [three - one for three, one in zip(over["three"], over["one"], strict=True)]
    return {**{name: statistics.median(values) for name, values in over.items()}, "both": statistics.median(both)}


def _tell(title: str, books: Balance) -> None:
    row: dict[str, Any] = {
        "": title,
        "sent": books.entries,
        "answers": books.answers,
        "lost": books.lost,
        "doubled": books.doubled,
        "wrong": books.wrong,
        "told to wait": books.told_to_wait,
    }
    print(table([row]))
    for error in books.errors[:10]:
        print(f"    {error}")
