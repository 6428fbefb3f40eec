"""Requests at load, so that the first client does not pay for what happens once.

They take the way of every other request through the engine: memory is touched, libraries choose their kernels, decode
steps are recorded or compiled, and the pace of steps is known. Triton's own `model_warmup` wants the tensor's shape in
config.pbtxt; the width of EMBEDDINGS belongs to the checkpoint, so this model does it by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

import torch

from ..engine.engine import Engine
from ..engine.sampling import SamplingParams
from ..engine.sequence import Prompt, Sequence

ROWS_PER_S, TOKENS_PER_S = 13, 3
NUM_BEFORE, NUM_AFTER = 16, 8
TIMEOUT_S = 600.0


class _Waiter:
    """A listener that waits for the end."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.error = ""

    def on_tokens(self, ids: list[int], logprobs: list[float]) -> None:
        pass

    def on_finish(self, sequence: Sequence) -> None:
        self.done.set()

    def on_error(self, message: str) -> None:
        self.error = message
        self.done.set()

    def is_cancelled(self) -> bool:
        return False


def warm_up(engine: Engine, seconds: Collection[float]) -> float:
    """Answer requests as long as speech of so many seconds, one by one, then together; returns how long it took.

    Raises RuntimeError where the engine fails: a model that cannot do this should not become ready.
    """
    started = time.monotonic()
    for group in [[one] for one in seconds] + ([list(seconds)] if len(seconds) > 1 else []):
        sequences = [_speech(engine, one) for one in group]
        for sequence in sequences:
            engine.submit(sequence)
        for sequence in sequences:
            waiter = sequence.listener
            assert isinstance(waiter, _Waiter)
            if not waiter.done.wait(TIMEOUT_S) or waiter.error:
                raise RuntimeError(f"the warm-up failed: {waiter.error or 'no answer in time'}")
    return time.monotonic() - started


def _speech(engine: Engine, seconds: float) -> Sequence:
    """A request with as many embeddings and tokens as speech has; at the scale of the token embeddings."""
    table = engine.network.embedding
    num_rows, num_tokens = max(1, round(seconds * ROWS_PER_S)), max(2, round(seconds * TOKENS_PER_S))
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(num_rows, table.shape[1], generator=generator) * float(table.float().std())
    prompt = Prompt([0] * NUM_BEFORE, rows.to(table.device, table.dtype), [0] * NUM_AFTER)
    params = SamplingParams(num_tokens, min_new_tokens=num_tokens)
    return Sequence("", prompt, params, 2, _Waiter())
