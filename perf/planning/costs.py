"""Figures for planning: `costs.json`, and newer figures of `perf/results/` where there are some."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COSTS = Path(__file__).resolve().parent / "costs.json"
RESULTS = Path(__file__).resolve().parent.parent / "results"
NEWER = ("dispatch.json", "responses.json", "live.json")
# Milliseconds of a second of a stream, by their names without `_ms`. ONE: of what there can be only one of, a thread or
# an interpreter. SEVERAL: of processes that run as often as the host's processors allow. ALL: of everything on the host
# but the network's arithmetic, which is the GPU's.
ONE = ("decoder", "triton_thread")
SEVERAL = ("asr_stream", "frontend")
ALL = ("decoder", "triton", *SEVERAL)


@dataclass(frozen=True)
class Costs:
    """values: by the names of costs.json, units in the names. told: each with its source and how to get it again."""

    values: dict[str, float]
    told: list[dict[str, Any]]

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    def launch_s(self, sequences: float, *, rows: int) -> float:
        """Seconds in which the host launches one step of so many sequences of so many rows: every kernel by itself, or
        replayed as a graph."""
        many = self["kernels_64x1"] if rows == 1 else self["kernels_64x110"]
        kernels = self["kernels_one"] + (many - self["kernels_one"]) * max(0.0, sequences - 1) / 63
        share = self["graph_share"]
        return kernels * 1e-6 * ((1 - share) * self["launch_us"] + share * self["graph_kernel_us"])

    def host_s(self, sequences: float) -> float:
        """Seconds of the decoder's interpreter for a step of so many sequences; nothing of it is beside the GPU yet."""
        return sequences * 1e-6 * self["sequence_step_us"]

    @property
    def host_ms(self) -> float:
        """Milliseconds of the host's processors for a second of a stream."""
        return sum(self[f"{name}_ms"] for name in ALL)

    def streams_of(self, name: str, processes: int = 1) -> float:
        """Streams at which so many processes, or threads, of this kind never rest."""
        return 1_000 * processes / self[f"{name}_ms"]


def read_costs(results: Path = RESULTS) -> Costs:
    """costs.json, with what `results` has of it in its stead."""
    known = json.loads(COSTS.read_text(encoding="utf-8"))
    newer: dict[str, tuple[float, str]] = {}
    for name in NEWER:
        path = results / name
        if path.is_file():
            newer |= {key: (value, name) for key, value in json.loads(path.read_text(encoding="utf-8")).items()}
    values, told = {}, []
    for name, one in known.items():
        value, source = float(one["value"]), str(one["source"])
        if one.get("replaced_by") in newer:
            value, file = float(newer[one["replaced_by"]][0]), newer[one["replaced_by"]][1]
            source = f"perf/results/{file}, {one['replaced_by']}"
        values[name] = value
        told.append({"figure": name, "value": value, "source": source, "again": one["again"]})
    return Costs(values, told)
