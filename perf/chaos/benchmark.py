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
from perf.chaos.overload.generator import Answers
from perf.chaos.overload.measure import SETTINGS, overload
from perf.chaos.proxy import Proxy
from perf.chaos.rounds import figures, rounds
from perf.chaos.soak import soak
from perf.chaos.stage import Stage, staged
from perf.chaos.traffic import prepared
from perf.chaos.watched import watched_rounds
from perf.loads.load import percentile_ms, table
from perf.results import kept, write_json

PARTS = ("faults", "hostile", "overload", "soak")
# A wedged model is given up sooner than where its line may be a minute long.
HANG_S = "10"
PAGE = "# What it withstood"
QUICK = ("SIGKILL vad", "SIGKILL decoder", "SIGKILL asr_stream", "SIGKILL frontend", "wire cut", "full disk")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, help="write the figures here, as one flat object; tables beside it as .md")
    parser.add_argument("--seed", type=int, default=0, help="of the order of faults, their moments, and what is said")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run")
    parser.add_argument("--faults", nargs="+", metavar="WORD", help="those whose names hold one of these words")
    parser.add_argument("--inputs", type=int, help="hostile ones, other than 20,000")
    parser.add_argument("--quick", action="store_true", help="a short run")


def run(arguments: Namespace) -> int:
    """Kill, stop, wedge, fill, cut and shift what a server is made of, each under mixed live and file load, and keep
    books of every utterance and file. The exit status is 1 where anything was lost, doubled, wrong or not healed."""
    found: dict[str, Any] = dict(kept(arguments.json, "chaos."))
    arguments.tables = _tables_beside(arguments.json)
    good = True
    if "faults" in arguments.only:
        told = asyncio.run(_faults(arguments))
        good = not (told["chaos.lost"] or told["chaos.doubled"] or told["chaos.wrong"] or told["chaos.never_healed"])
        found |= told
    for name, part in (("hostile", _hostile), ("overload", _overload), ("soak", _soak)):
        if name in arguments.only:
            clean, told = asyncio.run(part(arguments))
            good, found = good and clean, found | told
            # An hour's work is not lost with what comes after it.
            _write(arguments, found)
    _write(arguments, found)
    return 0 if good else 1


async def _faults(arguments: Namespace) -> dict[str, Any]:
    done = []
    async with staged(ASR_HANG_S=HANG_S) as stage:
        if not stage.has_small_disks:
            print("without the right to mount: no full disk, no full shared memory")
        talks = await prepared(stage.url, 2 if arguments.quick else 4, arguments.seed)
        chosen = _chosen(known.embedded(stage), arguments)
        done += await rounds(stage, talks, chosen, arguments.seed)
    if pairs := _chosen(known.of_pairs(), arguments):
        async with staged(ASR_HANG_S=HANG_S, pairs=known.PAIRS) as stage:
            done += await rounds(stage, talks, pairs, arguments.seed)
    if not arguments.faults or _chosen(known.between(Proxy(0)), arguments):
        async with elsewhere() as (stage, proxy):
            done += await rounds(stage, talks, _chosen(known.between(proxy), arguments), arguments.seed)
    if not arguments.quick and (not arguments.faults or "watcher" in arguments.faults):
        done += await watched_rounds(arguments.seed)
    _show(arguments, "Faults", [one.row() for one in done])
    return dict(figures(done))


async def _hostile(arguments: Namespace) -> tuple[bool, dict[str, Any]]:
    async with staged() as stage:
        found = await onslaught(stage, arguments.seed, arguments.inputs or (2_000 if arguments.quick else 20_000))
        _show(arguments, "Hostile input", found.tally.rows())
        _show(arguments, "Processes after hostile input", found.growth)
        raised = [f"raised {times} times: {what}" for what, times in found.tracebacks.items()]
        for line in (*found.crashes, *found.tally.findings(), *raised, *found.complaints):
            print(f"    {line}")
    return found.is_clean, _told(found.figures())


async def _overload(arguments: Namespace) -> tuple[bool, dict[str, Any]]:
    async with staged(None, (), **SETTINGS) as stage:
        found = await (overload(stage, 15.0, 4.0) if arguments.quick else overload(stage))
    rows = {f"{clients} clients": one for clients, one in found.closed.items()} | {"ten times": found.flood}
    _show(arguments, "Overload", [{"load": name, **_load(one)} for name, one in rows.items()])
    for words, times in (*found.flood.other.items(), *found.probes.other.items()):
        print(f"    {times} times: {words}")
    for error in found.streams.errors:
        print(f"    a stream: {error}")
    return found.is_good, _told(found.figures())


def _load(answers: Answers) -> dict[str, Any]:
    return {
        "right a second": len(answers.right) / answers.seconds,
        "p95 ms": percentile_ms(answers.right, 95),
        "refused": len(answers.refused),
        "p95 ms of refusals": percentile_ms(answers.refused, 95),
        "neither": sum(answers.other.values()),
    }


async def _soak(arguments: Namespace) -> tuple[bool, dict[str, Any]]:
    async with staged() as stage:
        found = await soak(stage, 300.0 if arguments.quick else 3_600.0, arguments.seed)
    _show(arguments, "Endurance", found.rows())
    for line in found.complaints:
        print(f"    {line}")
    return found.is_flat, _told(found.figures())


def _show(arguments: Namespace, title: str, rows: list[dict[str, Any]]) -> None:
    print(table(rows))
    arguments.tables[title] = table(rows)


def _write(arguments: Namespace, found: dict[str, Any]) -> None:
    """The figures and tables of all parts there ever were."""
    write_json(arguments.json, found)
    if arguments.json is not None and arguments.json.is_file():
        parts = (f"## {title}\n\n{rows}" for title, rows in arguments.tables.items())
        arguments.json.with_suffix(".md").write_text("\n\n".join([PAGE, *parts]) + "\n", encoding="utf-8")


def _tables_beside(path: Path | None) -> dict[str, str]:
    """By title, those that an earlier run left beside its figures."""
    page = path.with_suffix(".md") if path is not None else None
    if page is None or not page.is_file():
        return {}
    parts = page.read_text(encoding="utf-8").split("\n## ")[1:]
    return {title: rows.strip() for title, _, rows in (part.partition("\n") for part in parts)}


def _told(figures: dict[str, Any]) -> dict[str, Any]:
    for name, figure in figures.items():
        print(f"{name} {'-' if figure is None else f'{figure:g}'}")
    return figures


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
