"""Work timed in turns, so that a busy moment of the machine falls on all of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm


def in_turns(steps: Mapping[str, Callable[[], Any]], rounds: int, name: str) -> dict[str, NDArray[np.float64]]:
    """Seconds of each step in each round, float64 [rounds], but for a first round that warms up."""
    times: dict[str, list[float]] = {step: [] for step in steps}
    for number in tqdm(range(rounds + 1), desc=name, leave=False):
        for step, work in steps.items():
            started = time.perf_counter()
            work()
            if number:
                times[step].append(time.perf_counter() - started)
    return {step: np.array(one) for step, one in times.items()}
