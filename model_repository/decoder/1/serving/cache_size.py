"""How large a decoder's KV cache is. `python -m export memory` counts by the same function."""

from __future__ import annotations

from collections.abc import Sequence

from ..parameters import Parameters
from .budget import Memory, cache_tokens, parse_wish
from .step_memory import Dimensions, steps_bytes

# What the driver keeps of a GPU that nothing runs on: nvidia-smi shows 300 to 450 MiB.
DRIVER = 450 * 2**20
# A process's CUDA context with the kernels of cuBLAS, cuDNN and its engine: 300 to 500 MiB in nvidia-smi.
CUDA_CONTEXT = 500 * 2**20


def tokens_of_cache(
    parameters: Parameters,
    memory: Memory,
    networks: Sequence[tuple[Dimensions, int]],
    weights: int = 0,
    others: int = 0,
    *,
    has_flash: bool = True,
) -> int:
    """Tokens that the decoder's networks keep at the same places.

    memory: of their device, where their weights are. networks: the decoder's own and the one that drafts, each one's
    dimensions and the bytes of a number of its format. weights: bytes that they take of a GPU. others: those that
    another model takes of it, which may be there or not. has_flash: whether it has FlashAttention.
    Raises NotEnoughMemory as `cache_tokens`, ValueError where kv_cache_mb says nothing.
    """
    if memory.kind == "gpu":
        steps = steps_bytes(parameters, networks, has_flash=has_flash)
        memory = memory.beside(DRIVER + CUDA_CONTEXT + weights, others).less(steps)
    token_bytes = sum(token_bytes_of(*network) for network in networks)
    return cache_tokens(parse_wish(parameters.kv_cache_mb), memory, token_bytes, parameters.max_running)


def token_bytes_of(dimensions: Dimensions, itemsize: int) -> int:
    """Of one token's keys and values."""
    return 2 * dimensions.num_hidden_layers * dimensions.num_key_value_heads * dimensions.head_dim * itemsize
