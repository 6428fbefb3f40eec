"""From logits to tokens, for all rows of a step at once and on its device: the likeliest, or drawn at a temperature.

A draw depends on the request's seed and the token's number in the answer alone: not on the batch, nor on the device,
nor on whether the token was drawn by itself or in a pass that verifies a draft.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Below this the likeliest token is drawn anyhow, and logits over it would overflow.
LEAST_TEMPERATURE = 1e-3
# Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014): the increment and the finalizer's
# factors of SplitMix64, as signed 64-bit numbers.
GOLDEN, FIRST, SECOND = -7_046_029_254_386_353_131, -4_658_895_280_553_007_687, -7_723_592_293_110_705_685


@dataclass(frozen=True)
class Draws:
    """How each row is chosen. heated: whether any is drawn at all. temperatures: float32 [R], 0 for the likeliest;
    seeds, numbers: int64 [R], the request's seed and the token's place in the answer; banned: bool [R], rows whose
    answer may not end yet."""

    temperatures: Tensor
    seeds: Tensor
    numbers: Tensor
    banned: Tensor
    heated: bool = True


def choose(logits: Tensor, draws: Draws | None, is_end: Tensor) -> tuple[Tensor, Tensor]:
    """logits: float32 [R, vocab_size]; is_end: bool [vocab_size], tokens that end an answer.

    Returns tokens int64 [R] and the natural logarithms float32 [R] of their probabilities at temperature 1, not finite
    where the logits are no numbers.
    """
    if draws is None:
        scores, tokens = logits.max(dim=-1)
    else:
        allowed = torch.where(draws.banned[:, None] & is_end[None, :], -torch.inf, logits)
        if draws.heated:
            drawn = draws.temperatures >= LEAST_TEMPERATURE
            heat = torch.where(drawn, draws.temperatures, 1.0)[:, None]
            noise = torch.where(drawn[:, None], gumbel(draws.seeds, draws.numbers, logits.shape[1]), 0.0)
            allowed = allowed / heat + noise
        tokens = allowed.argmax(dim=-1)
        scores = logits.gather(1, tokens[:, None])[:, 0]
    return tokens, (scores - torch.logsumexp(logits, dim=-1)).clamp(max=0.0)


def gumbel(seeds: Tensor, numbers: Tensor, size: int) -> Tensor:
    """float32 [R, size] of Gumbel noise: the argument of the maximum of log-probabilities with it is a draw from them
    (Gumbel, 1954), in one pass and without a sum over the row."""
    keys = _mix(_mix(seeds.clone()) + numbers * GOLDEN)
    places = torch.arange(1, size + 1, device=seeds.device) * GOLDEN
    # As many bits as a float32 has room for, so that none becomes 1.
    bits = _shifted(_mix(keys[:, None] + places[None, :]), 41)
    uniform = (bits.float() + 0.5) * 2.0**-23
    return -torch.log(-torch.log(uniform))


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's finalizer, in place: of a step's rows times the vocabulary there is room for one beside its shift.
    int64 products wrap around as unsigned ones do."""
    x ^= _shifted(x, 30)
    x *= FIRST
    x ^= _shifted(x, 27)
    x *= SECOND
    x ^= _shifted(x, 31)
    return x


def _shifted(x: Tensor, by: int) -> Tensor:
    """Shifted right with zeros from the left, as unsigned numbers are."""
    shifted = x >> by
    shifted &= (1 << (64 - by)) - 1
    return shifted
