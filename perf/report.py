"""One page from one command: every table and plot, measured now, side by side."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from export.errors import ExportError
from export.speech import read_speech
from perf import asr, cost_model, plots
from perf.accuracy import live, offline
from perf.accuracy import report as accuracy_report
from perf.analyzer import run as analyze
from perf.capacity import capacity, mixed
from perf.clips import RECORDINGS, mixed_clips
from perf.digits import write_digits
from perf.environments import PeerMissing
from perf.http_load import http_load, uploads
from perf.live_cost import measure as live_cost
from perf.load import table
from perf.peers import sdk_speed
from perf.results import machine
from perf.service import Service, running_service

RESULTS = Path(__file__).parent / "results"
LEVELS = (1, 4, 16)
BOUND_MS = 500.0
# Two runs of a ratio should agree within this.
REPEATABLE = 0.15


class Report:
    """The page as it grows: each part is written when it is measured, so that an interruption leaves what is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.figures: dict[str, Any] = {}
        self._parts: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, text: str) -> None:
        self._parts.append(text)
        (self.folder / "report.md").write_text("\n\n".join(self._parts) + "\n")
        (self.folder / "report.json").write_text(json.dumps({**self.figures, **machine()}, indent=2) + "\n")

    def part(self, title: str, measure: Callable[[], str]) -> None:
        """Measure a part; what cannot be measured here is told in its place."""
        print(f"{title} ...", flush=True)
        started = time.monotonic()
        try:
            text = measure()
        except (PeerMissing, RuntimeError, ExportError, OSError, ValueError) as error:
            text = f"Not measured: {error}"
        self.add(f"## {title}\n\n{text}")
        print(f"  {time.monotonic() - started:.0f} s", flush=True)


def make_report(folder: Path, quick: bool) -> int:
    """Write report.md, report.json and plots into `folder`."""
    started = time.monotonic()
    page = Report(folder)
    about = ", ".join(f"{name.removeprefix('machine.')} {value}" for name, value in machine().items())
    page.add(
        f"# What it does, measured\n\nOn {about}, {time.strftime('%Y-%m-%d')}. Accuracy and serving: the tiny "
        "checkpoint through the real Triton; the cost of a step: random weights. Ratios are of one run, side by side."
    )
    try:
        with running_service() as service:
            grpc = service.health()["triton"]["url"]
            page.part("Memory", lambda: _memory(page, service))
            page.part("perf_analyzer", lambda: _analyzer(page, grpc, quick))
            page.part("HTTP", lambda: _http(page, service.url, 4.0 if quick else 8.0))
            page.part("Live capacity", lambda: _capacity(page, service.url, 10.0 if quick else 15.0))
            page.part("Live streams under bulk load", lambda: _mixed(page, service.url, 10.0 if quick else 20.0))
            page.part("Accuracy", lambda: _accuracy(page, grpc, 30 if quick else 120))
            page.part("Peers: files", lambda: _files(page, grpc, quick))
        page.part("Peers: live", lambda: _live_peers(page, quick))
        page.part("Peers: the official SDK", lambda: _sdk(page, quick))
        page.part("Cost model", lambda: _cost_model(page))
        page.part("Kept figures", _kept)
    except KeyboardInterrupt:
        page.add("(interrupted)")
    page.add(f"Made in {(time.monotonic() - started) / 60:.0f} minutes by `make bench-report`.")
    print(f"{folder / 'report.md'}")
    return 0


def _memory(page: Report, service: Service) -> str:
    time.sleep(1.0)
    frontend = psutil.Process(service.pid)
    rows = [{"process": "frontend", "MB": frontend.memory_info().rss / 1e6}]
    for child in frontend.children(recursive=True):
        words = child.cmdline()
        model = next((Path(word).parts[-3] for word in words if word.endswith("/model.py")), None)
        if model or any("tritonserver" in word for word in words[:1]):
            rows.append({"process": model or "tritonserver", "MB": child.memory_full_info().pss / 1e6})
    page.figures["report.memory_mb"] = together = sum(row["MB"] for row in rows)
    return f"{table(rows)}\n\nTogether {together:.0f} MB; start until ready {service.ready_s:.1f} s."


def _analyzer(page: Report, grpc: str, quick: bool) -> str:
    texts, plotted = [], {}
    clips = mixed_clips(16)
    for model in ("asr", "asr_stream", "encoder") if quick else ("asr", "asr_stream", "vad", "encoder", "decoder"):
        rows, summary = analyze(grpc, model, clips, list(LEVELS), width=128, window_ms=1_500 if quick else 3_000)
        plotted[model] = [(row.level, row.per_second / rows[0].per_second) for row in rows]
        page.figures |= {f"analyzer.{model}.per_second_x{row.level}": row.per_second for row in rows}
        texts.append(f"`{model}`, its own summary:\n\n```\n{summary}```\n\n{table([vars(row) for row in rows])}")
    plots.lines(
        page.folder / "throughput.png", plotted, "requests at a time", "throughput over one at a time", log=True
    )
    texts.append(
        "`asr_stream` is asked in sequences of half-second chunks, one after the other as fast as they are heard."
    )
    return "\n\n".join([*texts, "![Throughput](throughput.png)"])


def _http(page: Report, url: str, seconds: float) -> str:
    files = uploads(sorted(RECORDINGS.glob("*.flac")))
    rows = []
    for stream in (False, True):
        for clients in LEVELS:
            load = asyncio.run(http_load(url, files, clients, seconds, stream=stream))
            rows.append({"clients": clients, "stream": stream, **load.row()})
    first, last = rows[0]["requests_per_s"], rows[2]["requests_per_s"]
    page.figures |= {"http.rps_x16_over_x1": last / first, "http.errors": sum(row["errors"] for row in rows)}
    return table(rows)


def _capacity(page: Report, url: str, seconds: float) -> str:
    rows: list[dict[str, Any]] = []
    best, _ = asyncio.run(capacity(url, BOUND_MS, seconds, 512, rows.append))
    page.figures |= {"capacity.streams_at_500ms": best, "capacity.rows": rows}
    measured = sorted((row["streams"], row["partial_p95_ms"]) for row in rows if row["partial_p95_ms"])
    plots.lines(
        page.folder / "capacity.png",
        {"p95": measured, "bound": [(measured[0][0], BOUND_MS), (measured[-1][0], BOUND_MS)]},
        "live streams", "partial, ms after its last sample", log=True,
    )  # fmt: skip
    rows.sort(key=lambda row: row["streams"])
    return f"{best} streams within {BOUND_MS:g} ms at p95.\n\n{table(rows)}\n\n![Capacity](capacity.png)"


def _mixed(page: Report, url: str, seconds: float) -> str:
    files = uploads(sorted(RECORDINGS.glob("*.flac")))
    # In turn, as for files: turns 1 and 3 are one run of a ratio, 2 and 4 the other.
    turns = [asyncio.run(mixed(url, 4, 8, files, seconds)) for _ in range(4)]

    def both(part: Callable[[dict[str, Any]], float], whole: Callable[[dict[str, Any]], float]) -> list[float]:
        return [sum(map(part, half)) / sum(map(whole, half)) for half in (turns[::2], turns[1::2])]

    def late(name: str) -> list[float]:
        return both(lambda turn: float(turn["rows"][1][name]), lambda turn: float(turn["rows"][0][name]))

    ratios, typical = late("partial_p95_ms"), late("partial_p50_ms")
    share = both(lambda turn: turn["bulk_rtfx_beside"], lambda turn: turn["bulk_rtfx_alone"])
    page.figures |= {f"mixed.partial_p95_ratio_{index}": ratio for index, ratio in enumerate(ratios)}
    page.figures |= {f"mixed.partial_p50_ratio_{index}": ratio for index, ratio in enumerate(typical)}
    page.figures |= {f"mixed.bulk_share_{index}": one for index, one in enumerate(share)}
    return (
        f"{table(turns[0]['rows'])}\n\np50 beside bulk over alone: {_twice(typical)}, p95 {_twice(ratios)}. Bulk "
        f"beside live, over bulk alone: {_twice(share)}. Errors: {sum(turn['errors'] for turn in turns)}."
    )


def _accuracy(page: Report, grpc: str, count: int) -> str:
    # Without the recordings the part says so.
    speech = read_speech(write_digits(page.folder / "digits", count))
    answers = {"offline": asyncio.run(offline(grpc, speech)), "live": asyncio.run(live(grpc, speech))}
    rows, notes = accuracy_report(speech, answers, "basic")
    page.figures |= {f"accuracy.{row['way']}": row["error_rate"] for row in rows}
    return f"Connected human digits, takes that were not trained on.\n\n{table(rows)}\n\n```\n{notes}\n```"


def _files(page: Report, grpc: str, quick: bool) -> str:
    clips = mixed_clips(48 if quick else 96)
    seconds = sum(clip.size for clip in clips) / 16_000
    # In turn, so that a slow minute of the machine falls on both, and on both runs of the ratio.
    turns = []
    for _ in range(2 if quick else 6):
        ours, texts = asyncio.run(asr.measure_triton(grpc, clips, 1))
        theirs, their_texts = asr.measure_transformers(clips, 1)
        turns.append({**{f"asr, {count} at a time": rate for count, rate in ours.items()}, **theirs})
        page.figures["files.transcripts_different"] = sum(a != b for a, b in zip(texts, their_texts, strict=True))
    runs = [{way: max(turn[way] for turn in half) for way in turns[0]} for half in (turns[::2], turns[1::2])]
    ratios = [run["asr, 16 at a time"] / max(run[way] for way in run if way.startswith("transf")) for run in runs]
    page.figures |= {f"files.vs_transformers_{number}": ratio for number, ratio in enumerate(ratios)}
    rows = [{"way": way, "clips/s": rate, "RTFx": rate * seconds / len(clips)} for way, rate in runs[0].items()]
    plots.bars(page.folder / "files.png", runs[0], "clips a second")
    return (
        f"{table(rows)}\n\n`asr` 16 at a time over the better of transformers: {_twice(ratios)}. Transcripts that "
        f"differ: {page.figures['files.transcripts_different']} of {len(clips)}.\n\nWhere `asr` is behind: the peer is "
        "one process with all clips in hand, sorted by length; a clip here passes Triton's queues and five processes "
        "and is streamed, which for a network of 1.4 million weights is most of the work. With the 0.6B dimensions the "
        "engine is ahead (kept figures, below).\n\n![Files](files.png)"
    )


def _live_peers(page: Report, quick: bool) -> str:
    figures, curves = live_cost("small", quick=True)
    page.figures |= figures
    plots.lines(page.folder / "live_cost.png", curves, "seconds of session", "seconds of a step", log_y=True)
    kept = json.loads((RESULTS / "live.json").read_text())
    rows = [
        {
            "seconds of session": seconds,
            "asr_stream": figures.get(f"live.step_s_at_{seconds}s"),
            "fed again": figures.get(f"live.refeed_s_at_{seconds}s"),
            "ratio": figures.get(f"live.vs_refeed_{seconds}s"),
        }
        for seconds in (20, 60, 120)
    ]
    return (
        f"A step with 0.5 s of new audio, `small` random weights, measured now:\n\n{table(rows)}\n\nThe design of "
        f"fixed chunks (450 ms with 150 ms of overlap, one worker) is cheap and hears little: "
        f"{100 * kept['live.wer_fixed_chunks']:.0f} % word errors against {100 * kept['live.wer']:.1f} % "
        "(kept figures).\n\n![Cost of a live step](live_cost.png)"
    )


def _sdk(page: Report, quick: bool) -> str:
    figures = sdk_speed(quick)
    page.figures |= figures
    return (
        f"PyPI `qwen-asr` (transformers backend, static batches) and our engine, random weights of the "
        f"{'small' if quick else '0.6B'} dimensions in the original layout, float32, the same 8 clips, "
        f"{figures['sdk.tokens']:.0f} tokens each: {figures['sdk.seconds']:.1f} s and "
        f"{figures['sdk.our_seconds']:.1f} s; ours is {figures['sdk.ours_over_sdk']:.2f} times as fast. vLLM is not "
        "among the peers: its CPU build is on no package index, and its usual one needs a GPU."
    )


def _cost_model(page: Report) -> str:
    text = ""
    rows = page.figures.get("capacity.rows", [])
    points = [(row["streams"], row["partial_p95_ms"] / 1_000) for row in rows if row["partial_p95_ms"]]
    best = page.figures.get("capacity.streams_at_500ms", 0)
    # Fitted to what is well below the limit, it has to foresee the limit.
    below = [point for point in points if point[0] <= 0.75 * best]
    if len(below) >= 2:
        fixed, each = cost_model.fit(below, 0.45)
        foreseen = cost_model.capacity(fixed, each, 0.45, BOUND_MS / 1_000, most=2_048)
        page.figures |= {"plan.foreseen": foreseen, "plan.foreseen_over_measured": foreseen / best}
        text = (
            f"From the p95 at {', '.join(str(count) for count, _ in sorted(below))} streams the simulation takes a run "
            f"for {1_000 * fixed:.1f} ms and {1_000 * each:.1f} ms a stream, and foresees {foreseen} streams within "
            f"{BOUND_MS:g} ms; measured were {best}.\n\n"
        )
    load = cost_model.LiveLoad()
    planned = [
        {"model": model.name, **{card.name: cost_model.streams(card, model, load) for card in cost_model.CARDS}}
        for model in cost_model.MODELS
    ]
    return (
        f"{text}Live streams a card, estimated from published bandwidth and FLOPS at "
        f"{100 * cost_model.BANDWIDTH_SHARE:.0f} and {100 * cost_model.COMPUTE_SHARE:.0f} % of them; not measured on "
        f"any of these cards:\n\n{table(planned)}"
    )


def _kept() -> str:
    """Figures of longer benchmarks, as they were measured last."""
    wanted = {
        "decoder-cpu-0.6b.json": ("decoder.x16_over_x1", "decoder.vs_transformers"),
        "encoder-cpu.json": ("encoder.ort_over_torch", "encoder.int8_over_torch", "encoder.int8_token_agreement"),
        "frontend.json": ("frontend.overhead_ms_p50", "frontend.share_of_grpc_rps", "frontend.ttft_share_10min"),
        "live.json": ("live.mismatches", "live.wer", "live.vs_refeed_120s", "live.streams_ratio"),
    }
    rows = []
    for name, figures in wanted.items():
        path = RESULTS / name
        known = json.loads(path.read_text()) if path.is_file() else {}
        rows += [{"file": name, "figure": figure, "value": known.get(figure)} for figure in figures]
    return f"From `perf/results/`, made by `python -m perf decoder | encoder | frontend | live`:\n\n{table(rows)}"


def _twice(values: list[float]) -> str:
    """Both runs of a ratio, and whether they agree."""
    apart = abs(values[0] - values[1]) / min(values)
    return f"{values[0]:.2f} and {values[1]:.2f}" + ("" if apart <= REPEATABLE else f" ({100 * apart:.0f} % apart)")
