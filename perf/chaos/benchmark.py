"""`python -m perf chaos`: faults under load, and a ledger of what was sent and what was answered."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from frontend.settings import Settings
from frontend.triton.process import EmbeddedTriton
from perf.chaos import faults as known
from perf.chaos.hostile.round import onslaught
from perf.chaos.proxy import Proxy
from perf.chaos.rounds import figures, rounds
from perf.chaos.stage import Stage, staged
from perf.chaos.traffic import prepared
from perf.loads.load import table
from perf.results import kept, write_json

PARTS = ("faults", "hostile")
# A wedged model is given up sooner than where its line may be a minute long.
HANG_S = "10"
QUICK = ("SIGKILL vad", "SIGKILL decoder", "SIGKILL asr_stream", "SIGKILL frontend", "wire cut", "full disk")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, help="write the figures here, as one flat object")
    parser.add_argument("--seed", type=int, default=0, help="of the order of faults, their moments, and what is said")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run")
    parser.add_argument("--faults", nargs="+", metavar="WORD", help="those whose names hold one of these words")
    parser.add_argument("--inputs", type=int, help="hostile ones, other than 20,000")
    parser.add_argument("--quick", action="store_true", help="a short run")


def run(arguments: Namespace) -> int:
    """Kill, stop, wedge, fill, cut and shift what a server is made of, each under mixed live and file load, and keep
    books of every utterance and file. The exit status is 1 where anything was lost, doubled, wrong or not healed."""
    found: dict[str, Any] = dict(kept(arguments.json, "chaos."))
    good = True
    if "faults" in arguments.only:
        told = asyncio.run(_faults(arguments))
        good = not (told["chaos.lost"] or told["chaos.doubled"] or told["chaos.wrong"] or told["chaos.never_healed"])
        found |= told
    if "hostile" in arguments.only:
        clean, told = asyncio.run(_hostile(arguments))
        good, found = good and clean, found | told
    write_json(arguments.json, found)
    return 0 if good else 1


async def _faults(arguments: Namespace) -> dict[str, Any]:
    done = []
    async with staged(ASR_HANG_S=HANG_S) as stage:
        if not stage.has_small_disks:
            print("without the right to mount: no full disk, no full shared memory")
        talks = await prepared(stage.url, 2 if arguments.quick else 4, arguments.seed)
        chosen = _chosen(known.embedded(stage), arguments)
        done += await rounds(stage, talks, chosen, arguments.seed)
    async with elsewhere() as (stage, proxy):
        done += await rounds(stage, talks, _chosen(known.between(proxy), arguments), arguments.seed)
    print(table([one.row() for one in done]))
    return dict(figures(done))


async def _hostile(arguments: Namespace) -> tuple[bool, dict[str, Any]]:
    async with staged() as stage:
        found = await onslaught(stage, arguments.seed, arguments.inputs or (2_000 if arguments.quick else 20_000))
        print(table(found.tally.rows()))
        raised = [f"raised {times} times: {what}" for what, times in found.tracebacks.items()]
        for line in (*found.crashes, *found.tally.findings(), *raised, *found.complaints):
            print(f"    {line}")
    for name, figure in found.figures().items():
        print(f"{name} {figure:g}")
    return found.is_clean, found.figures()


def _chosen(faults: list[known.Fault], arguments: Namespace) -> list[known.Fault]:
    if arguments.faults:
        return [fault for fault in faults if any(word in fault.name for word in arguments.faults)]
    return [fault for fault in faults if fault.name in QUICK] if arguments.quick else faults


@contextlib.asynccontextmanager
async def elsewhere() -> AsyncIterator[tuple[Stage, Proxy]]:
    """A Triton of its own, a wire, and a frontend at its other end."""
    with tempfile.TemporaryDirectory(prefix="qwen3-asr-chaos-") as folder:
        # Models are loaded again from the other end: by the secret that both have.
        key = Path(folder) / "control-key"
        triton = EmbeddedTriton(Settings(cache_dir=Path(folder), triton_grpc_port=0, triton_control_key_file=key))
        await triton.start()
        try:
            async with (
                Proxy(triton.grpc_port) as proxy,
                staged(triton=proxy.url, ASR_TRITON_CONTROL_KEY_FILE=str(key)) as stage,
            ):
                yield stage, proxy
        finally:
            await triton.stop()
