"""Commands that load a service which runs, or one of their own: http, ws, capacity, mixed, accuracy, analyzer, plan."""

from __future__ import annotations

import asyncio
import contextlib
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from export.errors import ExportError
from export.speech import read_speech
from perf.loads.load import Load, table
from perf.loads.ws_load import Streams
from perf.peers.environments import PeerMissing
from perf.results import write_json
from perf.service import running_service
from perf.speech.clips import RECORDINGS, mixed_clips

Command = tuple[str, Callable[[ArgumentParser], None], Callable[[Namespace], int]]


@contextlib.contextmanager
def service_at(url: str | None) -> Iterator[tuple[str, str]]:
    """(HTTP address, gRPC address) of the service at `url`, or of one that lives as long as this."""
    if url is not None:
        import urllib.request

        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=10) as answer:
            yield url.rstrip("/"), json.load(answer)["triton"]["url"]
        return
    with running_service() as service:
        yield service.url, service.health()["triton"]["url"]


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
    with service_at(arguments.url) as (url, _):
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
    with service_at(arguments.url) as (url, _):
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

    with service_at(arguments.url) as (url, _):
        done = interruptible(work())
    print(f"{best} streams within {arguments.bound_ms:g} ms at p95" if done else "no answer yet")
    return _tell(sorted(rows, key=lambda row: row["streams"]), arguments, "capacity")


def mixed(arguments: Namespace) -> int:
    """Live streams alone and beside bulk files: what the priorities are worth."""
    from perf.loads.capacity import Mixed
    from perf.loads.capacity import mixed as measure
    from perf.loads.http_load import uploads

    found = Mixed()

    async def work() -> None:
        files = uploads([one.path for one in read_speech(arguments.files)])
        await measure(url, arguments.streams, arguments.bulk, files, arguments.seconds, found)

    with service_at(arguments.url) as (url, _):
        interruptible(work())
    print(f"partials beside bulk over alone: p50 {found.late(50):.3g}, p95 {found.late(95):.3g}")
    print(f"bulk beside live over alone: {found.bulk_share():.3g}; errors: {found.errors()}")
    return _tell(found.rows(arguments.bulk), arguments, "mixed")


def accuracy(arguments: Namespace) -> int:
    """Error rates over a manifest: offline, live, and against another server."""
    from perf.loads.accuracy import Answer, live, offline, report

    speech = read_speech(arguments.manifest)[: arguments.clips]
    answers: dict[str, list[Answer]] = {}

    async def work(grpc: str) -> None:
        answers["offline"] = await offline(grpc, speech)
        if not arguments.no_live:
            answers["live"] = await live(grpc, speech)
        for address in arguments.against:
            answers[address] = await offline(address, speech)

    with service_at(arguments.url) as (_, grpc):
        interruptible(work(grpc))
    rows, notes = report(speech, answers, arguments.normalize)
    code = _tell(rows, arguments, "accuracy")
    print(f"\n{notes}")
    return code


def analyzer(arguments: Namespace) -> int:
    """Triton's perf_analyzer on a model, with inputs made of sound files."""
    from perf.loads.analyzer import run

    files = [one.pcm() for one in read_speech(arguments.files)] if arguments.files else mixed_clips(16)
    with service_at(arguments.url) as (_, grpc):
        rows, summary = run(
            grpc, arguments.model, files, arguments.levels, rates=arguments.rates, width=arguments.width
        )
    print(summary)
    return _tell([vars(row) for row in rows], arguments, f"analyzer.{arguments.model}")


def plan(arguments: Namespace) -> int:
    """Live streams of a server, from steps that perf_analyzer measured on it (--measured); or estimates for GPUs, from
    published bandwidth and FLOPS: nothing of those was measured on them."""
    from perf.planning.cost_model import CARDS, MODELS, LiveLoad, capacity, fit, gpus, streams

    if arguments.measured:
        rates = [_level_and_rate(text) for text in arguments.measured]
        fixed_s, each_s = fit([(count, count / per_second) for count, per_second in rates])
        foreseen = capacity(fixed_s, each_s, arguments.interval_ms / 1_000, arguments.bound_ms / 1_000)
        row = {"run_ms": 1_000 * fixed_s, "ms_a_stream": 1_000 * each_s, "streams": foreseen}
        servers = -(-arguments.streams // foreseen) if foreseen else None
        return _tell([{**row, f"servers for {arguments.streams}": servers}], arguments, "plan")
    load = LiveLoad(interval_s=arguments.interval_ms / 1_000)
    rows = []
    for model in MODELS:
        for card in CARDS:
            count = streams(card, model, load)
            cards = gpus(card, model, arguments.streams, load) if count else None
            rows.append({"model": model.name, "card": card.name, "streams": count, f"for {arguments.streams}": cards})
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

    rows = apart(*(json.loads(path.read_text()) for path in (arguments.before, arguments.after)))
    far = [row for row in rows if abs(row["change"]) > arguments.within]
    shown = rows if arguments.all else far
    print(table([{**row, "change": f"{100 * row['change']:+.0f} %"} for row in shown]))
    print(f"{len(far)} of {len(rows)} figures are more than {100 * arguments.within:g} % apart")
    return 1 if far else 0


def _common(parser: ArgumentParser) -> None:
    parser.add_argument("--url", help="a frontend that runs, e.g. http://127.0.0.1:8080; left out: one of its own")
    parser.add_argument("--json", type=Path, help="write the figures here, as one flat object")


def _files(parser: ArgumentParser) -> None:
    parser.add_argument("--files", type=Path, default=RECORDINGS, help="a folder of sound files, or a manifest")


def _http_arguments(parser: ArgumentParser) -> None:
    _common(parser)
    _files(parser)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each level")
    parser.add_argument("--stream", action="store_true", help="server-sent events: tells the time to the first text")


def _ws_arguments(parser: ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=20.0, help="of speech in each stream")


def _capacity_arguments(parser: ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--bound-ms", type=float, default=500.0, help="of partials at p95")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--most", type=int, default=1_024)


def _mixed_arguments(parser: ArgumentParser) -> None:
    _common(parser)
    _files(parser)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--bulk", type=int, default=16, help="clients that post files without a pause")
    parser.add_argument("--seconds", type=float, default=20.0)


def _accuracy_arguments(parser: ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("manifest", type=Path, help=".jsonl, .csv, or a LibriSpeech, Kaldi or plain folder")
    parser.add_argument("--clips", type=int, default=10_000, help="at most so many")
    parser.add_argument("--normalize", choices=["whisper", "basic", "none"], default="whisper")
    parser.add_argument("--no-live", action="store_true", help="offline only")
    parser.add_argument("--against", nargs="*", default=[], help="gRPC addresses of other servers to compare with")


def _analyzer_arguments(parser: ArgumentParser) -> None:
    from perf.loads.analyzer import MODELS

    _common(parser)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--files", type=Path, help="a folder of sound files, or a manifest; left out: digits")
    parser.add_argument("--levels", type=int, nargs="+", default=[1, 4, 16], help="concurrencies, or requests a second")
    parser.add_argument("--rates", action="store_true", help="levels are requests a second")
    parser.add_argument("--width", type=int, default=128, help="of the decoder's embeddings (0.6B: 1024, 1.7B: 2048)")


def _peers_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, help="write the figures here, as one flat object")
    parser.add_argument("--quick", action="store_true", help="a short run")
    parser.add_argument("--size", choices=["0.6b", "1.7b", "small"], default="0.6b")
    parser.add_argument("--clips", type=int, default=8)


def _compare_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("before", type=Path, help="a file that --json or the report has written")
    parser.add_argument("after", type=Path)
    parser.add_argument("--within", type=float, default=0.15, help="how far apart two figures may be, as a share")
    parser.add_argument("--all", action="store_true", help="show the others as well")


def _plan_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--json", type=Path)
    parser.add_argument("--streams", type=int, default=1_000, help="live streams to serve")
    parser.add_argument("--interval-ms", type=float, default=450.0, help="between partials")
    parser.add_argument("--bound-ms", type=float, default=500.0, help="of partials at p95, with --measured")
    parser.add_argument(
        "--measured",
        nargs="+",
        metavar="LEVEL:PER_SECOND",
        help="what perf_analyzer measured on asr_stream: inferences a second by concurrency, e.g. 1:65 4:105 16:126",
    )


def guarded(run: Callable[[Namespace], int], arguments: Namespace) -> int:
    """Run a command; what users can mend is told in one line."""
    try:
        return run(arguments)
    except (ExportError, PeerMissing, RuntimeError, OSError, ValueError) as error:
        print(f"error: {error}")
        return 1


COMMANDS: dict[str, Command] = {
    "http": ("HTTP clients that post files", _http_arguments, http),
    "ws": ("live streams over WebSocket", _ws_arguments, ws),
    "capacity": ("the most live streams within a bound", _capacity_arguments, capacity),
    "mixed": ("live streams beside bulk files", _mixed_arguments, mixed),
    "accuracy": ("word error rates over a manifest, offline and live", _accuracy_arguments, accuracy),
    "analyzer": ("Triton's perf_analyzer on a model", _analyzer_arguments, analyzer),
    "peers": ("our engines beside the official SDK and vLLM", _peers_arguments, peers),
    "compare": ("two files of figures side by side", _compare_arguments, compare),
    "plan": ("estimates of streams on GPUs", _plan_arguments, plan),
}
