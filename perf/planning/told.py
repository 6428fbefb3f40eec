"""What `perf plan` says: rows of tables."""

from __future__ import annotations

from typing import Any

from export.sizing.gpus import GPUS
from perf.planning.costs import read_costs
from perf.planning.limits import MODELS, LiveLoad, clips, streams

CARDS = tuple(GPUS[name] for name in ("rtx4090", "l4", "a10", "l40s", "a100", "h100", "h200"))
# SGLang-Omni (its issues 1151 and 1168), 1.7B in bfloat16 on one RTX 4090, SeedTTS English: clips a second by clients.
ELSEWHERE = {("1.7b", "RTX 4090"): {1: 10.5, 8: 45.1, 16: 65.4}}
CLIENTS = (1, 8, 16)


def cost_rows() -> list[dict[str, Any]]:
    return read_costs().told


def stream_rows(interval_s: float, wanted: int) -> list[dict[str, Any]]:
    """Live streams by model and card, what binds, and what would without the processes' limits."""
    costs, load, rows = read_costs(), LiveLoad(interval_s=interval_s), []
    for model in MODELS:
        for card in CARDS:
            held = streams(card, model, load, costs)
            on_gpu = {name: count for name, count in held.alone.items() if not name.startswith("process ")}
            row = {"model": model.name, "card": card.name, "streams": held.count, "binds": held.limit}
            rows.append({**row, **on_gpu, f"for {wanted}": -(-wanted // held.count) if held.count else None})
    return rows


def clip_rows() -> list[dict[str, Any]]:
    """Clips a second by model, card and clients, beside what was measured elsewhere."""
    costs, rows = read_costs(), []
    for model in MODELS:
        for card in CARDS:
            for count in CLIENTS:
                rate = clips(card, model, count, costs)
                row = {"model": model.name, "card": card.name, "clients": count, "clips/s": rate.clips_per_s}
                elsewhere = ELSEWHERE.get((model.name, card.name), {}).get(count)
                rows.append({**row, "takes most": rate.limit, "elsewhere": elsewhere})
    return rows
