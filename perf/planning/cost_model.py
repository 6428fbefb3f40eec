"""Planning: how many live streams a machine holds, from the measured times of its steps.

A stream asks for a step of the encoder (one block at most) and of the decoder (a prompt of the newest rows, a draft to
verify, a few new tokens) every `interval`. Partials are late where steps come faster than they are done: a queue with
one server, whose waiting time grows as 1 / (1 - utilization); `simulate` plays it through.
"""

from __future__ import annotations

import heapq
import random

import numpy as np
from scipy.optimize import nnls


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
