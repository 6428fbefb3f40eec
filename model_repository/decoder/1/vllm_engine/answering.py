"""What the engine wants of vLLM: one request's tokens as they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


class EngineLost(RuntimeError):
    """vLLM's own process is gone, and every request with it."""


@dataclass(frozen=True)
class Tokens:
    """The next tokens of an answer, the one that ends it among them, with their log-probabilities. started: monotonic
    seconds when its first step was planned; ended: why there are no more, "" where there are."""

    ids: list[int]
    logprobs: list[float]
    started: float = 0.0
    ended: str = ""


class Answering(Protocol):
    """max_tokens: of one sequence, prompt and answer, at the most."""

    max_tokens: int

    def answer(self, name: str, rows: Tensor, sampling: dict[str, Any], priority: int) -> AsyncGenerator[Tokens, None]:
        """The answer to a prompt of embeddings [tokens, D]. name: of no other request that runs; priority: lower goes
        first. Closed early, the request is dropped and its place is free. Raises EngineLost."""
        ...

    def is_lost(self) -> bool: ...

    def kv_tokens(self) -> int:
        """Tokens of the KV cache in use."""
        ...

    def counters(self) -> dict[str, float]:
        """Its steps and the tokens computed in them."""
        ...

    def close(self) -> None: ...
