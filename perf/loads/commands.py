"""Commands that load a service which runs, or one of their own: http, ws, capacity, mixed, accuracy, analyzer, plan."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Coroutine
from typing import Any

from export.errors import ExportError
from export.speech import read_speech
from perf.loads import arguments as taken
from perf.loads.addresses import Unreachable, frontend_at, no_answer, triton_at
from perf.loads.hearing import Streams
from perf.loads.load import Load, table
from perf.peers.environments import PeerMissing
from perf.results import read_figures, write_json
from perf.speech.clips import mixed_clips

Command = tuple[str, Callable[[ArgumentParser], None], Callable[[Namespace], int]]


def interruptible(work: Coroutine[Any, Any, Any]) -> bool:
    """Run it; False where Ctrl-C ended it, after which what was found until then can be told."""
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        print("\ninterrupted; until then:")
        return False
    return True


def _tell(rows: list[dict[str, Any]], arguments: Namespace, name: str) -> int:
    print(table(rows))
    if arguments.json is not None:
        flat = {f"{name}.{index}.{key}": value for index, row in enumerate(rows) for key, value in row.items()}
        write_json(arguments.json, flat)
    return 0


def http(arguments: Namespace) -> int:
    """Clients that post files, each as soon as it has its answer: percentiles, rates, time to the first text."""
    from perf.loads.http_load import http_load, uploads

    files = uploads([one.path for one in read_speech(arguments.files)])
    rows = []
    with frontend_at(arguments.url) as url:
        for clients in arguments.clients:
            load = Load()
            done = interruptible(http_load(url, files, clients, arguments.seconds, stream=arguments.stream, into=load))
            rows.append({"clients": clients, **load.row()})
            if load.errors:
                print(f"{clients} clients: {len(load.errors)} errors, first: {load.errors[0]}")
            if not done:
                break
    return _tell(rows, arguments, "http")


def ws(arguments: Namespace) -> int:
    """Live streams over WebSocket at the pace of speech."""
    from perf.loads.ws_load import ws_load

    rows = []
    with frontend_at(arguments.url) as url:
        for count in arguments.streams:
            found = Streams()
            done = interruptible(ws_load(url, count, arguments.seconds, into=found))
            rows.append(found.row())
            if found.errors:
                print(f"{count} streams: {len(found.errors)} errors, first: {found.errors[0]}")
            if not done:
                break
    return _tell(rows, arguments, "ws")


def capacity(arguments: Namespace) -> int:
    """The largest number of live streams whose partials come in time."""
    from perf.loads.capacity import capacity as measure

    rows: list[dict[str, Any]] = []
    best = 0

    async def work() -> None:
        nonlocal best
        best, _ = await measure(url, arguments.bound_ms, arguments.seconds, arguments.most, rows.append)

    with frontend_at(arguments.url) as url:
        done = interruptible(work())
    print(f"{best} streams within {arguments.bound_ms:g} ms at p95" if done else "no answer yet")
    return _tell(sorted(rows, key=lambda row: row["streams"]), arguments, "capacity")


def mixed(arguments: Namespace) -> int:
    """Live streams alone and beside bulk work, files by HTTP and long clips by gRPC: what the priorities are worth."""
    from perf.loads.clip_load import clip_load, long_clip
    from perf.loads.http_load import http_load, uploads
    from perf.loads.mixed import Bulk, Mixed
    from perf.loads.mixed import mixed as measure

    files = uploads([one.path for one in read_speech(arguments.files)])
    figures: dict[str, float] = {}
    with frontend_at(arguments.url) as url:
        kinds: dict[str, tuple[str, Bulk]] = {
            "": ("files", lambda seconds, load: http_load(url, files, arguments.bulk, seconds, into=load))
        }
        if arguments.long_seconds:
            clip = long_clip(arguments.long_seconds)
            with triton_at(url, arguments.grpc) as grpc:
                kinds["long_"] = (
                    f"clips of {arguments.long_seconds:g} s by gRPC",
                    lambda seconds, load: clip_load(grpc, clip, arguments.bulk, seconds, load),
                )
        for prefix, (name, bulk) in kinds.items():
            found = Mixed()

            async def turns(bulk: Bulk = bulk, found: Mixed = found) -> None:
                for _ in range(arguments.turns):
                    await measure(url, arguments.streams, bulk, arguments.seconds, found)

            done = interruptible(turns())
            print(table(found.rows(f"{arguments.bulk} clients with {name}")))
            print(f"\npartials beside {name} over alone: p50 {found.late(50):.3g}, p95 {found.late(95):.3g}")
            print(f"{name} beside live over alone: {found.bulk_share():.3g}; errors: {found.errors()}\n", flush=True)
            figures |= found.figures(f"mixed.{prefix}")
            if not done:
                break
    write_json(arguments.json, figures)
    return 0


def accuracy(arguments: Namespace) -> int:
    """Error rates over a manifest: offline, live, and against another server."""
    from perf.loads.accuracy import Answer, groups, live, offline, report

    speech = read_speech(arguments.manifest)[: arguments.clips]
    # Told now where there is nothing to compare with, and not after the work.
    groups(speech)
    answers: dict[str, list[Answer]] = {}

    for address in arguments.against:
        if (reason := no_answer(address)) is not None:
            raise Unreachable(f"no Triton answers at {address}: {reason}")

    async def work(grpc: str) -> None:
        answers["offline"] = await offline(grpc, speech)
        if not arguments.no_live:
            answers["live"] = await live(grpc, speech)
        for address in arguments.against:
            answers[address] = await offline(address, speech)

    with triton_at(arguments.url, arguments.grpc) as grpc:
        interruptible(work(grpc))
    rows, notes = report(speech, answers, arguments.normalize)
    code = _tell(rows, arguments, "accuracy")
    print(f"\n{notes}")
    return code


def analyzer(arguments: Namespace) -> int:
    """Triton's perf_analyzer on a model, with inputs made of sound files."""
    from perf.loads.analyzer import run

    files = [one.pcm() for one in read_speech(arguments.files)] if arguments.files else mixed_clips(16)
    with triton_at(arguments.url, arguments.grpc) as grpc:
        rows, summary = run(
            grpc, arguments.model, files, arguments.levels,
            rates=arguments.rates, width=arguments.width, leave=arguments.leave,
        )  # fmt: skip
    print(summary)
    return _tell([vars(row) for row in rows], arguments, f"analyzer.{arguments.model}")


def plan(arguments: Namespace) -> int:
    """Live streams of a server, from steps that perf_analyzer measured on it (--measured); or estimates for GPUs and
    their hosts, from published figures, counts and processor time, with the slowest part, which binds: nothing was
    measured on them; or a day of many such servers, played with the frontend's own balancer (--servers)."""
    from perf.planning.cost_model import capacity, fit
    from perf.planning.told import clip_rows, cost_rows, host_rows, stream_rows

    if arguments.measured:
        rates = [_level_and_rate(text) for text in arguments.measured]
        fixed_s, each_s = fit([(count, count / per_second) for count, per_second in rates])
        foreseen = capacity(fixed_s, each_s, arguments.interval_ms / 1_000, arguments.bound_ms / 1_000)
        row = {"run_ms": 1_000 * fixed_s, "ms_a_stream": 1_000 * each_s, "streams": foreseen}
        servers = -(-arguments.streams // foreseen) if foreseen else None
        return _tell([{**row, f"servers for {arguments.streams}": servers}], arguments, "plan")
    if arguments.servers:
        from perf.planning.fleet_rows import fleet_rows

        interval_s = arguments.interval_ms / 1_000
        rows = fleet_rows(
            arguments.servers, arguments.drawn, interval_s, arguments.cores, arguments.seed, arguments.hours
        )
        return _tell(rows, arguments, "fleet")
    print(f"Counted, measured and assumed:\n\n{table(cost_rows())}\n")
    print(f"Files, clips a second (others' measurements of the 1.7B: perf/planning/told.py):\n\n{table(clip_rows())}\n")
    print(f"Live streams, by the parts of a host with {arguments.cores} processors:\n")
    print(f"{table(host_rows(arguments.cores))}\n\nLive streams, by the slowest part of GPU and host:\n")
    rows = stream_rows(arguments.interval_ms / 1_000, arguments.streams, arguments.cores)
    return _tell(rows, arguments, "plan")


def _level_and_rate(text: str) -> tuple[int, float]:
    level, _, rate = text.partition(":")
    try:
        found = int(level), float(rate)
    except ValueError:
        found = 0, 0.0
    if min(found) <= 0:
        raise ValueError(f"--measured takes LEVEL:PER_SECOND such as 16:126.4, not {text!r}")
    return found


def peers(arguments: Namespace) -> int:
    """Our engines beside the official SDK and vLLM's CPU build, random weights, each in an environment of its own."""
    from perf.peers.speed import compare, told

    rows, missing = told(compare(mixed_clips(arguments.clips), arguments.size, 2 if arguments.quick else 4))
    print("\n".join(missing))
    return _tell(rows, arguments, "peers")


def compare(arguments: Namespace) -> int:
    """Two files of figures side by side; the exit status is 1 where a figure of both is further apart than allowed."""
    from perf.results import apart

    rows = apart(read_figures(arguments.before), read_figures(arguments.after))
    far = [row for row in rows if abs(row["change"]) > arguments.within]
    shown = rows if arguments.all else far
    print(table([{**row, "change": f"{100 * row['change']:+.0f} %"} for row in shown]))
    print(f"{len(far)} of {len(rows)} figures are more than {100 * arguments.within:g} % apart")
    return 1 if far else 0


def guarded(run: Callable[[Namespace], int], arguments: Namespace) -> int:
    """Run a command; what users can mend is told in one line."""
    try:
        return run(arguments)
    except (ExportError, PeerMissing, RuntimeError, OSError, ValueError) as error:
        print(f"error: {error}")
        return 1


COMMANDS: dict[str, Command] = {
    "http": ("HTTP clients that post files", taken.http, http),
    "ws": ("live streams over WebSocket", taken.ws, ws),
    "capacity": ("the most live streams within a bound", taken.capacity, capacity),
    "mixed": ("live streams beside bulk files", taken.mixed, mixed),
    "accuracy": ("word error rates over a manifest, offline and live", taken.accuracy, accuracy),
    "analyzer": ("Triton's perf_analyzer on a model", taken.analyzer, analyzer),
    "peers": ("our engines beside the official SDK and vLLM", taken.peers, peers),
    "compare": ("two files of figures side by side", taken.compare, compare),
    "plan": ("estimates of streams on GPUs", taken.plan, plan),
}
