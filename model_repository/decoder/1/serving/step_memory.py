"""What steps take of a GPU beside weights and KV cache, in bytes. `python -m export memory` counts by the same."""

from __future__ import annotations

from typing import Protocol

from ..network.shapes import Shapes
from ..parameters import Parameters

# Rows whose tokens are chosen at a time, and float32 copies of their logits while they are summed.
JUDGED_AT_ONCE, LOGITS_COPIES = 256, 3
# Of a recorded shape, whose kernels the driver keeps with their arguments: some 600 nodes.
SHAPE_BYTES = 4 * 2**20


class Dimensions(Protocol):
    """Of a network."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def hidden_size(self) -> int: ...

    @property
    def intermediate_size(self) -> int: ...

    @property
    def num_hidden_layers(self) -> int: ...

    @property
    def num_attention_heads(self) -> int: ...

    @property
    def num_key_value_heads(self) -> int: ...

    @property
    def head_dim(self) -> int: ...


def layer_bytes(dimensions: Dimensions, rows: int, itemsize: int) -> int:
    """What is alive at the same time, at its most: while queries and keys are rotated, or while the gate is multiplied,
    beside what came in and the angles."""
    num_rotated = dimensions.num_attention_heads + dimensions.num_key_value_heads
    rotated, qkv = (
        heads * dimensions.head_dim for heads in (num_rotated, num_rotated + dimensions.num_key_value_heads)
    )
    attention = 3 * dimensions.hidden_size + 2 * qkv + 4 * rotated
    gated = 2 * dimensions.hidden_size + 4 * dimensions.intermediate_size
    return rows * (max(attention, gated) + 2 * dimensions.head_dim) * itemsize


def step_bytes(parameters: Parameters, dimensions: Dimensions, itemsize: int) -> int:
    """What the largest step of a network takes, and what recording all shapes of a step does. itemsize: of its number
    format."""
    rows, sequences = max(parameters.max_step_tokens, parameters.max_running), parameters.max_running
    shapes = len(Shapes([*parameters.decode_batches], rows, sequences)) if parameters.cuda_graphs else 0
    logits = JUDGED_AT_ONCE * dimensions.vocab_size * (itemsize + LOGITS_COPIES * 4)
    return layer_bytes(dimensions, rows, itemsize) + logits + shapes * SHAPE_BYTES
