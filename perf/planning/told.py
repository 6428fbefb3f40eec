"""What `perf plan` says: rows of tables."""

from __future__ import annotations

from typing import Any

from export.sizing.gpus import GPUS
from perf.planning.costs import read_costs
from perf.planning.limits import CORES, MODELS, LiveLoad, clips, host, streams

CARDS = tuple(GPUS[name] for name in ("rtx4090", "l4", "a10", "l40s", "a100", "h100", "h200"))
# SGLang-Omni (its issues 1151 and 1168), 1.7B in bfloat16 on one RTX 4090, SeedTTS English: clips a second by clients.
ELSEWHERE = {("1.7b", "RTX 4090"): {1: 10.5, 8: 45.1, 16: 65.4}}
CLIENTS = (1, 8, 16)


def cost_rows() -> list[dict[str, Any]]:
    return read_costs().told


def stream_rows(interval_s: float, wanted: int, cores: int = CORES) -> list[dict[str, Any]]:
    """Live streams by model and card on a host with so many processors, what binds, and what each limit of the GPU, and
    the least one of the host, would allow alone."""
    costs, load, rows = read_costs(), LiveLoad(interval_s=interval_s), []
    for model in MODELS:
        for card in CARDS:
            held = streams(card, model, load, costs, cores)
            row = {"model": model.name, "card": card.name, "streams": held.count, "binds": held.limit}
            row |= {name: count for name, count in held.alone.items() if name not in held.on_host}
            least = min(held.on_host, key=lambda name: held.on_host[name])
            row["host"] = f"{held.on_host[least]} ({least})"
            rows.append({**row, f"for {wanted}": -(-wanted // held.count) if held.count else None})
    return rows


def host_rows(cores: int = CORES) -> list[dict[str, Any]]:
    """Parts of a host, and the live streams that each would hold whatever the GPU."""
    return [{"part": name, "streams": count} for name, count in host(cores, read_costs()).items()]


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
