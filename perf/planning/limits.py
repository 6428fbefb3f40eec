"""Which limit a GPU and its host meet first: live streams, and clips a second.

Each limit is taken alone, and those that a step has in turn are also added up: what a server holds is what its slowest
part holds, be it the GPU, one thread of one process, or all the processors together. Estimates, from published figures
of the card and from `costs`: nothing of it was measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from export.sizing.dimensions import SIZES, Checkpoint
from export.sizing.gpus import Gpu
from frontend.cores import processes_for
from perf.planning.costs import ONE, SEVERAL, Costs

# Operations of one block, as perf/parts/gpu_encoder.py counts them.
BLOCK_FLOP = {"0.6b": 72.2e9, "1.7b": 99.8e9}
# Of an interval, what steps may take, and of a second, what a thread or the processors may: the rest is for queues.
BUSY = 2 / 3
# Of a host whose processors nobody named.
CORES = 16
HALF = 2
# Memory that is neither weights nor cache: `python -m export memory`.
BESIDE_GB = 6.0
PROMPT_ROWS, HEADER_TOKENS, ROWS_PER_S = 26, 4, 13
MODELS = tuple(SIZES.values())


@dataclass(frozen=True)
class LiveLoad:
    """A live stream: seconds between partials, blocks that a step encodes, rows of prompt and draft that it verifies,
    new tokens after them, and the KV cache that a stream holds. Blocks and rows are those that perf live counts."""

    interval_s: float = 0.45
    blocks: float = 0.5
    rows: int = 119
    new_tokens: int = 2
    kv_tokens: int = 600
    speech_share: float = 0.7


@dataclass(frozen=True)
class Held:
    """count: streams. limit: what binds. alone: what each limit would allow alone. on_host: of those, what the host's
    processors would."""

    count: int
    limit: str
    alone: dict[str, int]
    on_host: dict[str, int]


@dataclass(frozen=True)
class Rate:
    """Clips a second at so many clients, and the part that takes most of a clip's time."""

    clips_per_s: float
    limit: str


def host(cores: int, costs: Costs) -> dict[str, int]:
    """Live streams that each part of a host with so many processors would hold alone, by what it is."""
    several = processes_for(cores)
    found = {f"process {name}": costs.streams_of(name) for name in ONE}
    found |= {f"{several} processes {name}": costs.streams_of(name, several) for name in SEVERAL}
    found[f"{cores} processors"] = 1_000 * cores / costs.host_ms
    return {name: int(BUSY * count) for name, count in found.items()}


def streams(card: Gpu, model: Checkpoint, load: LiveLoad, costs: Costs, cores: int = CORES) -> Held:
    """Live streams of which every partial is done before the next one is due, on a host with so many processors."""

    def parts(count: int) -> dict[str, float]:
        """Seconds of one interval's steps, all that speak in one batch: a prompt pass, and one for each new token."""
        speaking, passes = max(1.0, count * load.speech_share), 1 + load.new_tokens
        rows = load.rows + load.new_tokens
        flop = speaking * (load.blocks * BLOCK_FLOP[model.name] + rows * 2 * model.decoder.num_weights)
        read = model.decoder.num_weights * HALF + speaking * load.kv_tokens * model.decoder.values_per_token * HALF
        launches = costs.launch_s(speaking, rows=load.rows)
        return {
            "GPU arithmetic": flop / _flops(card, costs),
            "GPU bandwidth": passes * read / _bandwidth(card, costs),
            "launches": launches + load.new_tokens * costs.launch_s(speaking, rows=1),
            "decoder's Python": passes * costs.host_s(speaking),
        }

    budget = load.interval_s * BUSY
    alone = {name: _most(lambda count, name=name: parts(count)[name] <= budget) for name in parts(1)}  # type: ignore[misc]
    # The GPU computes or reads, while the host launches; Python comes after.
    together = _most(lambda count: _in_turn(parts(count)) <= budget)
    alone["GPU memory"] = _in_memory(card, model, load)
    on_host = host(cores, costs)
    alone |= on_host
    least = min(alone, key=lambda name: alone[name])
    if together < alone[least]:
        times = parts(max(1, together))
        return Held(together, f"a step: {max(times, key=lambda name: times[name])}", alone, on_host)
    return Held(alone[least], least, alone, on_host)


def clips(card: Gpu, model: Checkpoint, clients: int, costs: Costs) -> Rate:
    """Files of costs' length, so many at a time, one after the other: their tokens in one batch."""
    rows = PROMPT_ROWS + ROWS_PER_S * costs["clip_s"]
    tokens = HEADER_TOKENS + costs["tokens_per_s"] * costs["clip_s"]
    flop = BLOCK_FLOP[model.name] + rows * 2 * model.decoder.num_weights
    read = model.decoder.num_weights * HALF + clients * rows * model.decoder.values_per_token * HALF
    launch = costs.launch_s(clients, rows=1)
    gpu = max(read / _bandwidth(card, costs), clients * 2 * model.decoder.num_weights / _flops(card, costs))
    parts = {
        "the way through the processes": costs["clip_path_ms"] / 1_000,
        "GPU arithmetic of encoder and prompt": clients * flop / _flops(card, costs),
        "GPU bandwidth" if gpu >= launch else "launches": tokens * max(gpu, launch),
        "decoder's Python": tokens * costs.host_s(clients),
    }
    return Rate(clients / sum(parts.values()), max(parts, key=lambda name: parts[name]))


def _in_turn(parts: dict[str, float]) -> float:
    on_gpu = parts["GPU arithmetic"] + parts["GPU bandwidth"]
    return max(on_gpu, parts["launches"]) + parts["decoder's Python"]


def _in_memory(card: Gpu, model: Checkpoint, load: LiveLoad) -> int:
    weights = HALF * (model.decoder.num_weights + model.encoder.num_weights)
    room = card.memory_mb * 2**20 - weights - BESIDE_GB * 1e9
    return max(0, int(room / (load.kv_tokens * model.decoder.values_per_token * HALF)))


def _most(good: Callable[[int], bool], most: int = 16_384) -> int:
    """The largest count up to `most` that is good; 0 where one is too many."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if good(middle) else (low, middle - 1)
    return low


def _flops(card: Gpu, costs: Costs) -> float:
    return card.tflops * 1e12 * costs["compute_share"]


def _bandwidth(card: Gpu, costs: Costs) -> float:
    return card.bandwidth_gb_s * 1e9 * costs["bandwidth_share"]
