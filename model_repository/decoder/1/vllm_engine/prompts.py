"""A sequence as vLLM is given it: the embeddings of its prompt, and how its tokens are chosen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.sampling import SamplingParams
from ..engine.sequence import Prompt
from ..network.choosing import LEAST_TEMPERATURE

# vLLM's word for "no seed".
NO_SEED, IN_ITS_PLACE = -1, 2**63 - 1


class Embedder:
    """Makes rows of whole prompts: those of tokens come from the checkpoint's table, those of audio as they are."""

    def __init__(self, table: Tensor, dtype: torch.dtype) -> None:
        """table: [vocab_size, D], best mapped from its file: only the rows that prompts use are read. dtype: the
        network's."""
        self._table = table
        self._dtype = dtype

    def rows(self, prompt: Prompt, audio: Tensor) -> Tensor:
        """[tokens, D] of the prompt around the whole audio, in the network's dtype."""
        return torch.cat([self._of(prompt.before), audio.to(self._dtype), self._of(prompt.after)])

    def _of(self, ids: list[int]) -> Tensor:
        return self._table[torch.tensor(ids, dtype=torch.int64)].to(self._dtype)


def sampling_arguments(params: SamplingParams, end_ids: list[int]) -> dict[str, Any]:
    """Arguments of vLLM's SamplingParams. The log-probability of each token is asked for, at temperature 1 as ours."""
    drawn = params.temperature >= LEAST_TEMPERATURE
    return {
        "temperature": params.temperature if drawn else 0.0,
        "seed": (IN_ITS_PLACE if params.seed == NO_SEED else params.seed) if drawn else None,
        "max_tokens": params.max_new_tokens,
        "min_tokens": params.min_new_tokens,
        "stop_token_ids": end_ids,
        "logprobs": 0,
        "detokenize": False,
    }
