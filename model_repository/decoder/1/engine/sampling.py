"""From logits to tokens: greedy, or drawn at a temperature from a seeded generator."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

# Below this the likeliest token is drawn anyhow, and logits over it would overflow.
LEAST_TEMPERATURE = 1e-3
SEEDS = range(-(2**63), 2**63)


@dataclass(frozen=True)
class SamplingParams:
    """How one request's tokens are chosen.

    temperature: 0 to 2, below LEAST_TEMPERATURE greedy; seed: makes a temperature repeatable; min_new_tokens: before
    them no token ends the answer, which gives benchmarks the same work again and again; repetition_guard: end an
    answer that loops (repetition.py).
    """

    max_new_tokens: int
    temperature: float = 0.0
    seed: int = 0
    min_new_tokens: int = 0
    repetition_guard: bool = True

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError("max_new_tokens must be at least 1")
        if not 0 <= self.min_new_tokens <= self.max_new_tokens:
            raise ValueError("min_new_tokens must lie between 0 and max_new_tokens")
        if not 0.0 <= self.temperature <= 2.0:
            raise ValueError(f"temperature must lie between 0 and 2, not {self.temperature}")
        if self.seed not in SEEDS:
            raise ValueError("seed must be a whole number of 64 bits")


class Sampler:
    """Chooses the tokens of one sequence; its generator is its own, so batching does not change what is drawn."""

    def __init__(self, params: SamplingParams) -> None:
        self._temperature = params.temperature
        drawn = params.temperature >= LEAST_TEMPERATURE
        self._generator = torch.Generator().manual_seed(params.seed) if drawn else None

    def choose(self, logits: Tensor, likeliest: int, banned: Collection[int] = ()) -> int:
        """logits float32 [vocab_size] and the token that is likeliest by them -> token id, none of the banned."""
        if banned:
            logits = logits.index_fill(0, torch.tensor(list(banned), device=logits.device), -torch.inf)
            likeliest = int(logits.argmax())
        if self._generator is None:
            return likeliest
        probabilities = torch.softmax(logits.cpu() / self._temperature, dim=-1)
        return int(torch.multinomial(probabilities, 1, generator=self._generator))


@dataclass(frozen=True)
class Scores:
    """Logits float32 [R, vocab_size] and what is asked of every row, computed for all rows of a step at once."""

    logits: Tensor
    likeliest: list[int]
    largest: list[float]
    normalizers: list[float]

    @classmethod
    def of(cls, logits: Tensor) -> Scores:
        largest, likeliest = logits.max(dim=-1)
        return cls(logits, likeliest.tolist(), largest.tolist(), torch.logsumexp(logits, dim=-1).tolist())

    def logprob(self, row: int, token: int) -> float:
        """Natural logarithm of the probability of `token` at temperature 1."""
        is_likeliest = token == self.likeliest[row]
        score = self.largest[row] if is_likeliest else float(self.logits[row, token])
        return min(0.0, score - self.normalizers[row])
