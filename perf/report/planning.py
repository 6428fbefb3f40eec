"""Parts of the report that measure nothing themselves: what to expect elsewhere, and what longer benchmarks found."""

from __future__ import annotations

import json
from pathlib import Path

from perf import cost_model
from perf.load import table
from perf.report.page import Report
from perf.report.serving import BOUND_MS

RESULTS = Path(__file__).resolve().parent.parent / "results"


def planning(page: Report) -> str:
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


def kept_figures() -> str:
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
