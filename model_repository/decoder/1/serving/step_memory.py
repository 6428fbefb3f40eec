"""What steps take of a GPU beside weights and KV cache, in bytes. `python -m export memory` counts by the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..network.shapes import Shapes
from ..parameters import Parameters
from .budget import TOKENS_OF_LONGEST

# Rows of which the likeliest tokens are chosen at a time, and float32 copies of their logits while they are summed.
# Rows of other kinds are fewer at a time (`CHUNKS`), so that these copies are enough for theirs.
JUDGED_AT_ONCE, LOGITS_COPIES = 256, 2
# Rows of a sequence that see one mask, as `attention.py` has it, which is not imported here: it wants PyTorch.
ROWS_TOGETHER = 512
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


def one_pass_bytes(dimensions: Dimensions, rows: int, itemsize: int, *, has_flash: bool = True) -> int:
    """The same where every sequence begins and ends in the pass, as an aligner's do: it keeps a layer's keys and values
    in place of a KV cache, until those of the next are there. Masks are those of one sequence, which sees the most."""
    kept = 2 * dimensions.num_key_value_heads * dimensions.head_dim
    masks = 0 if has_flash else masks_bytes(dimensions, rows * (rows + ROWS_TOGETHER) // 2, rows, itemsize)
    return layer_bytes(dimensions, rows, itemsize) + rows * kept * itemsize + masks


def judged_bytes(dimensions: Dimensions, itemsize: int) -> int:
    """Of logits, as the head gives them and in float32."""
    return JUDGED_AT_ONCE * dimensions.vocab_size * (itemsize + LOGITS_COPIES * 4)


def masks_bytes(dimensions: Dimensions, pairs: int, longest: int, itemsize: int) -> int:
    """Of a step without FlashAttention: its masks, a byte for each row and key of a pair, for the query heads of one
    key-value head; and the one in use as PyTorch's memory-efficient kernel takes it, as numbers and padded. longest:
    keys of a sequence."""
    groups = dimensions.num_attention_heads // dimensions.num_key_value_heads
    return groups * (pairs + 2 * ROWS_TOGETHER * longest * itemsize)


def step_bytes(
    parameters: Parameters, dimensions: Dimensions, itemsize: int, *, drafts: bool = False, has_flash: bool = True
) -> int:
    """What the largest step of a network takes, and what recording all shapes of a step does. itemsize: of its number
    format. drafts: its tokens are always the likeliest. has_flash: without FlashAttention nothing is recorded."""
    rows, sequences = max(parameters.max_step_tokens, parameters.max_running), parameters.max_running
    size = layer_bytes(dimensions, rows, itemsize) + judged_bytes(dimensions, itemsize)
    if not has_flash:
        return size + masks_bytes(dimensions, rows * TOKENS_OF_LONGEST, TOKENS_OF_LONGEST, itemsize)
    if parameters.cuda_graphs:
        # The likeliest tokens are chosen in recordings, whose memory no other choice can use.
        size += 0 if drafts else judged_bytes(dimensions, itemsize)
        size += len(Shapes([*parameters.decode_batches], rows, sequences)) * SHAPE_BYTES
    return size


def steps_bytes(parameters: Parameters, networks: Sequence[tuple[Dimensions, int]], *, has_flash: bool = True) -> int:
    """Of the decoder's network and of the one behind it, which drafts: each one's dimensions and itemsize."""
    return sum(
        step_bytes(parameters, *network, drafts=index > 0, has_flash=has_flash)
        for index, network in enumerate(networks)
    )
