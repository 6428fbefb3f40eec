"""Parts of the report that one running service answers: memory, throughput, capacity, accuracy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

import psutil

from export.speech import read_speech
from frontend.triton.instances import model_of
from perf.live.streams import BOUND_MS
from perf.loads.accuracy import live, offline
from perf.loads.accuracy import report as accuracy_report
from perf.loads.analyzer import run as analyze
from perf.loads.capacity import capacity
from perf.loads.http_load import http_load as measure_http
from perf.loads.http_load import uploads
from perf.loads.load import Load, table
from perf.loads.mixed import Mixed, mixed
from perf.report import plots
from perf.report.page import Report, twice
from perf.service import Service
from perf.speech.clips import RECORDINGS, mixed_clips
from perf.speech.digits import write_digits

LEVELS = (1, 4, 16)
MAIN = ("asr", "asr_stream")
STREAMS_BESIDE, BULK = 8, 8


def memory(page: Report, service: Service) -> str:
    time.sleep(1.0)
    frontend = psutil.Process(service.pid)
    rows = [{"process": "frontend", "MB": frontend.memory_info().rss / 1e6}]
    for child in frontend.children(recursive=True):
        words = child.cmdline()
        model = model_of(words)
        if model or any("tritonserver" in word for word in words[:1]):
            rows.append({"process": model or "tritonserver", "MB": child.memory_full_info().pss / 1e6})
    page.figures["report.memory_mb"] = together = sum(row["MB"] for row in rows)
    return f"{table(rows)}\n\nTogether {together:.0f} MB; start until ready {service.ready_s:.1f} s."


def triton_analyzer(page: Report, grpc: str, quick: bool) -> str:
    texts, plotted = [], {}
    clips = mixed_clips(16)
    for model in (*MAIN, "encoder") if quick else (*MAIN, "vad", "encoder", "decoder"):
        window_ms = 2_000 if model in MAIN and not quick else 1_000
        rows, summary = analyze(grpc, model, clips, list(LEVELS), width=128, window_ms=window_ms)
        plotted[model] = [(row.level, row.per_second) for row in rows]
        page.figures |= {f"analyzer.{model}.per_second_x{row.level}": row.per_second for row in rows}
        texts.append(f"`{model}`, its own summary:\n\n```\n{summary}```\n\n{table([vars(row) for row in rows])}")
    plots.lines(page.folder / "throughput.png", plotted, "requests at a time", "inferences a second", log=True)
    texts.append(
        "`asr_stream` is asked in sequences of half-second chunks, one after the other as fast as they are heard."
    )
    return "\n\n".join([*texts, "![Throughput](throughput.png)"])


def http_load(page: Report, url: str, seconds: float) -> str:
    """seconds: of every load in each of two runs, which are measured in turns."""
    files = uploads(sorted(RECORDINGS.glob("*.flac")))
    loads = [(stream, clients) for stream in (False, True) for clients in LEVELS]
    runs = [{load: Load() for load in loads} for _ in range(2)]
    for run in (*runs, *runs):
        for (stream, clients), into in run.items():
            asyncio.run(measure_http(url, files, clients, seconds / 2, stream=stream, into=into))
    rows = [{"clients": clients, "stream": stream, **runs[0][stream, clients].row()} for stream, clients in loads]
    gained = [run[False, 16].row()["requests_per_s"] / run[False, 1].row()["requests_per_s"] for run in runs]
    page.figures |= {f"http.rps_x16_over_x1_{number}": ratio for number, ratio in enumerate(gained)}
    page.figures["http.errors"] = sum(len(load.errors) for run in runs for load in run.values())
    return f"{table(rows)}\n\n16 clients over one: {twice(gained)}."


def live_capacity(page: Report, url: str, seconds: float) -> str:
    rows: list[dict[str, Any]] = []
    # What `asr_stream` held over gRPC is near, where it was measured.
    known = page.figures.get("live.streams_at_500ms_1")
    begin = {"first": round(known), "step": 1.25} if known else {}
    best, _ = asyncio.run(capacity(url, BOUND_MS, seconds, 512, rows.append, **begin))
    page.figures |= {"capacity.streams_at_500ms": best, "capacity.rows": rows}
    measured = sorted((row["streams"], row["partial_p95_ms"]) for row in rows if row["partial_p95_ms"])
    plots.lines(
        page.folder / "capacity.png",
        {"p95": measured, "bound": [(measured[0][0], BOUND_MS), (measured[-1][0], BOUND_MS)]},
        "live streams", "partial, ms after its last sample", log=True,
    )  # fmt: skip
    rows.sort(key=lambda row: row["streams"])
    return f"{best} streams within {BOUND_MS:g} ms at p95.\n\n{table(rows)}\n\n![Capacity](capacity.png)"


def under_bulk(page: Report, url: str, turns: int) -> str:
    files = uploads(sorted(RECORDINGS.glob("*.flac")))

    def bulk(seconds: float, load: Load) -> Awaitable[Load]:
        return measure_http(url, files, BULK, seconds, into=load)

    # Short turns of two runs: what else the machine does falls on both, and on streams alone as on those beside bulk.
    runs = [Mixed(), Mixed()]
    for turn in range(2 * turns):
        asyncio.run(mixed(url, STREAMS_BESIDE, bulk, 8.0, runs[turn % 2]))
    ratios = {f"partial_p{percent}_ratio": [run.late(percent) for run in runs] for percent in (50, 90)}
    ratios["bulk_share"] = [run.bulk_share() for run in runs]
    for name, values in ratios.items():
        page.figures |= {f"mixed.{name}_{number}": value for number, value in enumerate(values)}
    typical, late, share = map(twice, ratios.values())
    name = f"{BULK} bulk clients"
    return (
        f"{table(runs[0].rows(name))}\n\nBeside bulk over alone: p50 {typical}, p90 {late}. Bulk beside live, over "
        f"bulk alone: {share}. Errors: {sum(run.errors() for run in runs)}."
    )


def accuracy(page: Report, grpc: str, count: int) -> str:
    # Without the recordings the part says so.
    speech = read_speech(write_digits(page.folder / "digits", count))
    answers = {"offline": asyncio.run(offline(grpc, speech)), "live": asyncio.run(live(grpc, speech))}
    rows, notes = accuracy_report(speech, answers, "auto")
    page.figures |= {f"accuracy.{row['way']}": row["error_rate"] for row in rows}
    return f"Connected human digits, takes that were not trained on.\n\n{table(rows)}\n\n```\n{notes}\n```"
