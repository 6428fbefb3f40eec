"""How one request's tokens are chosen."""

from __future__ import annotations

from dataclasses import dataclass

from ..network.choosing import LEAST_TEMPERATURE
from ..network.step import PLAIN, Choice

SEEDS = range(-(2**63), 2**63)


@dataclass(frozen=True)
class SamplingParams:
    """temperature: 0 to 2, below LEAST_TEMPERATURE greedy; seed: makes a temperature repeatable; min_new_tokens: before
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

    def choice(self, number: int) -> Choice:
        """Of the answer's token `number`, from 0: the same whatever else is in the step."""
        drawn, banned = self.temperature >= LEAST_TEMPERATURE, number < self.min_new_tokens
        if not drawn and not banned:
            return PLAIN
        return Choice(self.temperature if drawn else 0.0, self.seed, number, banned)
