"""Parts of the report that measure nothing themselves: what to expect elsewhere, and what longer benchmarks found."""

from __future__ import annotations

import json
from pathlib import Path

from perf.live.streams import BOUND_MS, LEVELS
from perf.loads.load import table
from perf.planning.limits import CORES, LiveLoad
from perf.planning.told import stream_rows
from perf.report.page import Report, twice

RESULTS = Path(__file__).resolve().parent.parent / "results"


def planning(page: Report) -> str:
    text = _checked(page) if "live.streams_foreseen_0" in page.figures else ""
    return (
        f"{text}Live streams a card and its host of {CORES} processors, and the slowest part, which binds: estimated "
        f"from published bandwidth and TFLOPS, counted kernels and measured processor time (`python -m perf plan`); "
        f"not measured on any of these cards. `host` is what that would hold whatever the GPU:\n\n"
        f"{table(stream_rows(LiveLoad().interval_s, 1_000))}"
    )


def _checked(page: Report) -> str:
    """The simulation with what was measured here, beside the streams that were held here."""
    pairs = [
        (page.figures[f"live.streams_foreseen_{number}"], page.figures[f"live.streams_at_500ms_{number}"])
        for number in range(2)
    ]
    ratios = [foreseen / max(1, held) for foreseen, held in pairs]
    page.figures |= {f"plan.foreseen_over_measured_{number}": ratio for number, ratio in enumerate(ratios)}
    return (
        f"From the processor time of `asr_stream`, {', '.join(map(str, LEVELS))} sessions at a time, every core taking "
        f"its part, the simulation foresees {pairs[0][0]} and {pairs[1][0]} streams within {BOUND_MS:g} ms at p95 in "
        f"two runs; measured were {pairs[0][1]} and {pairs[1][1]}. Foreseen over measured: {twice(ratios)}. It knows "
        "nothing of the clients, which live on the same cores here.\n\n"
    )


def kept_figures() -> str:
    """Figures of longer benchmarks, as they were measured last."""
    wanted = {
        "decoder-cpu-0.6b.json": ("decoder.x16_over_x1", "decoder.vs_transformers"),
        "encoder-cpu.json": ("encoder.ort_over_torch", "encoder.int8_over_torch", "encoder.int8_token_agreement"),
        "frontend.json": ("frontend.overhead_ms_p50", "frontend.share_of_grpc_rps", "frontend.ttft_share_10min"),
        "live.json": ("live.mismatches", "live.wer", "live.vs_refeed_120s_0", "live.cpu_vs_refeed_0"),
    }
    rows = []
    for name, figures in wanted.items():
        path = RESULTS / name
        known = json.loads(path.read_text()) if path.is_file() else {}
        rows += [{"file": name, "figure": figure, "value": known.get(figure)} for figure in figures]
    return f"From `perf/results/`, made by `python -m perf decoder | encoder | frontend | live`:\n\n{table(rows)}"
