"""Planning: how many live streams a machine holds, from the times of its steps or from what is published of a GPU.

A stream asks for a step of the encoder (one block at most) and of the decoder (a prompt of the newest rows, a draft to
verify, a few new tokens) every `interval`. Partials are late where steps come faster than they are done: a queue with
one server, whose waiting time grows as 1 / (1 - utilization); `simulate` plays it through.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls


@dataclass(frozen=True)
class Card:
    """Published figures: memory bandwidth in GB/s, dense half-precision TFLOP/s with float32 sums, memory in GB."""

    name: str
    bandwidth_gb_s: float
    tflops: float
    memory_gb: float


CARDS = (
    Card("RTX 4090", 1_008, 165.2, 24),
    Card("L4", 300, 121.0, 24),
    Card("L40S", 864, 362.0, 48),
    Card("RTX 5090", 1_792, 209.5, 32),
    Card("A100 80GB", 2_039, 312.0, 80),
    Card("H100 SXM", 3_350, 989.4, 80),
    Card("H200", 4_800, 989.4, 141),
)


@dataclass(frozen=True)
class Model:
    """A checkpoint's parameters in bfloat16, its operations for a row and a block, and KV bytes for a token."""

    name: str
    decoder_parameters: float
    encoder_parameters: float
    kv_bytes_per_token: int
    block_gflop: float

    @property
    def weights_gb(self) -> float:
        return 2 * (self.decoder_parameters + self.encoder_parameters) / 1e9


MODELS = (
    Model("0.6B", 0.596e9, 0.186e9, 28 * 2 * 8 * 128 * 2, 72.2),
    Model("1.7B", 1.72e9, 0.317e9, 28 * 2 * 8 * 128 * 2, 99.8),
)
# What kernels reach of the published figures, and what a step costs besides: measured on other models, not on these.
BANDWIDTH_SHARE, COMPUTE_SHARE, STEP_OVERHEAD_S = 0.6, 0.4, 0.002


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


def step_s(card: Card, model: Model, batch: int, load: LiveLoad) -> float:
    """Seconds in which `batch` streams take one partial's steps together: an encoder run, a prompt pass, and a pass for
    each new token; each pass reads the weights once and computes its rows."""
    read_s = 2 * model.decoder_parameters / (card.bandwidth_gb_s * 1e9 * BANDWIDTH_SHARE)
    cache_s = batch * load.kv_tokens * model.kv_bytes_per_token / (card.bandwidth_gb_s * 1e9 * BANDWIDTH_SHARE)
    flops = card.tflops * 1e12 * COMPUTE_SHARE
    encoder = batch * load.blocks * model.block_gflop * 1e9 / flops + STEP_OVERHEAD_S
    prompt = max(read_s, batch * load.rows * 2 * model.decoder_parameters / flops) + cache_s + STEP_OVERHEAD_S
    token = max(read_s, batch * 2 * model.decoder_parameters / flops) + cache_s + STEP_OVERHEAD_S
    return encoder + prompt + load.new_tokens * token


def streams(card: Card, model: Model, load: LiveLoad, bound_s: float = 0.5) -> int:
    """Live streams of which every partial is done within `bound_s`, with a third of the time left for queues, and
    within the memory left by the weights."""
    room = card.memory_gb - model.weights_gb - 4.0
    most = int(room * 1e9 / (load.kv_tokens * model.kv_bytes_per_token)) if room > 0 else 0
    low, high = 0, max(0, most)
    while low < high:
        middle = (low + high + 1) // 2
        speaking = max(1, round(middle * load.speech_share))
        # All that speak are in one batch an interval; it must be done before the next one, and in time.
        if step_s(card, model, speaking, load) <= min(load.interval_s, bound_s) * 2 / 3:
            low = middle
        else:
            high = middle - 1
    return low


def gpus(card: Card, model: Model, num_streams: int, load: LiveLoad) -> int:
    """Cards for so many streams; ValueError where one stream does not fit."""
    each = streams(card, model, load)
    if not each:
        raise ValueError(f"{model.name} does not fit on one {card.name}")
    return -(-num_streams // each)


def simulate(
    num_streams: int, fixed_s: float, per_stream_s: float, interval_s: float, seconds: float = 60.0, seed: int = 0
) -> float:
    """p95 of a partial's delay in seconds: streams ask every `interval_s` at random phases; a machine takes all that
    wait together, for `fixed_s` and `per_stream_s` of each. A stream that waits does not ask again: steps coalesce."""
    rng = random.Random(seed)
    asks = [(rng.random() * interval_s, number) for number in range(num_streams)]
    heapq.heapify(asks)
    now, delays = 0.0, []
    while asks and now < seconds:
        now = max(now, asks[0][0])
        batch = []
        while asks and asks[0][0] <= now:
            batch.append(heapq.heappop(asks))
        now += fixed_s + per_stream_s * len(batch)
        for asked, number in batch:
            delays.append(now - asked)
            # The next partial is due an interval after this one was asked for, or at once.
            heapq.heappush(asks, (max(asked + interval_s, now), number))
    delays.sort()
    return delays[int(0.95 * (len(delays) - 1))] if delays else 0.0


def capacity(fixed_s: float, per_stream_s: float, interval_s: float, bound_s: float, most: int = 100_000) -> int:
    """The most streams whose p95 in the simulation is within the bound."""
    low, high = 0, 1
    while high < most and simulate(high, fixed_s, per_stream_s, interval_s) <= bound_s:
        low, high = high, 2 * high
    while low + 1 < high:
        middle = (low + high) // 2
        if simulate(middle, fixed_s, per_stream_s, interval_s) <= bound_s:
            low = middle
        else:
            high = middle
    return low


def fit(rounds: list[tuple[int, float]]) -> tuple[float, float]:
    """(fixed_s, per_stream_s), neither below zero, of measured (streams that ask one after the other, seconds in which
    each of them had one step): the least sum of squared relative errors of fixed_s + per_stream_s * streams."""
    matrix = np.array([[1 / seconds, count / seconds] for count, seconds in rounds])
    fixed_s, per_stream_s = nnls(matrix, np.ones(len(rounds)))[0]
    return float(fixed_s), float(per_stream_s)
