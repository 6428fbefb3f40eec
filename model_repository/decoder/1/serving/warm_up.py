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

from ..engine.sampling import SamplingParams
from ..engine.sequence import Prompt, Sequence
from .decoding import DecodingEngine

ROWS_PER_S, TOKENS_PER_S = 13, 3
NUM_BEFORE, NUM_AFTER = 16, 8
TIMEOUT_S = 600.0
# Embeddings whose scale stands for all.
SAMPLED = 1_024


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


def warm_up(engine: DecodingEngine, table: torch.Tensor, seconds: Collection[float]) -> float:
    """Answer requests as long as speech of so many seconds, one by one, then together; returns how long it took.

    table: embeddings of tokens [vocab_size, D], on any device.

    Raises RuntimeError where the engine fails: a model that cannot do this should not become ready.
    """
    started = time.monotonic()
    # Once as real answers are chosen, which may end at once here; then so many tokens whatever they are.
    alone = [([one], True) for one in seconds]
    together = [([*seconds], True)] if len(seconds) > 1 else []
    for group, forced in [([one], False) for one in [*seconds][:1]] + alone + together:
        sequences = [_speech(table, one, forced=forced) for one in group]
        for sequence in sequences:
            engine.submit(sequence)
        for sequence in sequences:
            waiter = sequence.listener
            assert isinstance(waiter, _Waiter)
            if not waiter.done.wait(TIMEOUT_S) or waiter.error:
                raise RuntimeError(f"the warm-up failed: {waiter.error or 'no answer in time'}")
    return time.monotonic() - started


def _speech(table: torch.Tensor, seconds: float, *, forced: bool) -> Sequence:
    """A request with as many embeddings and tokens as speech has, at the scale of the token embeddings; forced: the
    answer may not end before."""
    num_rows, num_tokens = max(1, round(seconds * ROWS_PER_S)), max(2, round(seconds * TOKENS_PER_S))
    generator = torch.Generator().manual_seed(0)
    # A sample of the table, brought to the host once, says the scale; audio lies on the host until it is computed.
    scale = float(table[:SAMPLED].to("cpu").float().std())
    rows = torch.randn(num_rows, table.shape[1], generator=generator) * scale
    prompt = Prompt([0] * NUM_BEFORE, rows, [0] * NUM_AFTER)
    params = SamplingParams(num_tokens, min_new_tokens=num_tokens if forced else 0)
    return Sequence("", prompt, params, 2, _Waiter())
