"""Attention of one layer over a ragged step, as one operator with a kernel for each kind of device.

Sequence b has the rows `row_starts[b]` to `row_starts[b + 1]`, its last ones, and its keys and values lie in the arena
from `kv_starts[b]` on, `kv_lengths[b]` of them with the step's own. Row i of r sees the first `kv_lengths[b] - r + i +
1`: causal from the end. Query heads that share a key-value head lie side by side.

On CUDA this is PyTorch's `torch.nn.attention.varlen`, FlashAttention 2 for Ampere and later (Ada, Hopper and Blackwell
among them), in float16 and bfloat16. What is relied on, as PyTorch 2.13 has it: with `seqused_k` the start of a
sequence's keys is read from `cu_seq_k` and its length from `seqused_k` alone, so starts may lie anywhere in an arena
and in any order; a window of (-1, 0) is causal from the end; rows behind the last sequence are left alone; what is not
read at record time is read anew when a CUDA graph is replayed, but for `max_q` and `max_k`, which bound the launch.
Pages (`block_table`) would have to be multiples of 256 tokens, which a live session's second of speech is not: extents
it is. Keys are split over blocks only where every sequence has one row, by how long the longest may be and not by how
long it is. Where `splits` is 1, a sequence's sums do not depend on who runs beside it. What FlashAttention does not
take (float32, Turing) is attended sequence by sequence, as on the CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

NAMESPACE, NAME = "qwen3_asr", "ragged_attention"
SCHEMA = (
    f"{NAME}(Tensor query, Tensor keys, Tensor values, Tensor row_starts, Tensor kv_starts, Tensor kv_lengths, "
    "Tensor[] masks, int most_rows, int longest, int splits) -> Tensor"
)
# FlashAttention 2 needs Ampere.
FLASH_FROM = (8, 0)
# Rows of a sequence that attend together where sequences do one by one: they see a mask of so many rows by all before
# them, and have scores of as many.
ROWS_TOGETHER = 512


def has_flash(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether FlashAttention takes this format on this CUDA device."""
    return dtype in (torch.float16, torch.bfloat16) and torch.cuda.get_device_capability(device) >= FLASH_FROM


def attends_by_sequence(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether `by_sequence` is what this device has for this format: a step's masks are made before it then."""
    return device.type == "cpu" or (device.type == "cuda" and not has_flash(device, dtype))


def causal_masks(
    row_starts: list[int], kv_lengths: list[int], groups: int, device: torch.device | None = None
) -> list[Tensor]:
    """What `by_sequence` wants, made once a step for all layers: for each ROWS_TOGETHER of a sequence, which has more
    than one row, bool [groups * rows, keys up to the last of them]."""
    masks = []
    for first, after, length in zip(row_starts, row_starts[1:], kv_lengths, strict=False):
        num_rows = after - first
        for start in range(length - num_rows, length, ROWS_TOGETHER) if num_rows > 1 else ():
            end = min(start + ROWS_TOGETHER, length)
            rows = torch.arange(start, end, device=device)
            masks.append((torch.arange(end, device=device)[None, :] <= rows[:, None]).repeat(groups, 1))
    return masks


def by_sequence(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    row_starts: Tensor,
    kv_starts: Tensor,
    kv_lengths: Tensor,
    masks: list[Tensor],
    most_rows: int,
    longest: int,
    splits: int,
) -> Tensor:
    """The CPU's, and CUDA's without FlashAttention: each sequence's keys and values are one slice of the arena, nothing
    is padded or copied.

    query [T, heads, head_dim]; keys and values [tokens of the arena, key-value heads, head_dim]; row_starts and
    kv_starts int32 [B + 1] (the last of kv_starts means nothing), kv_lengths int32 [B]; masks: `causal_masks`, or none.
    Returns [T, heads, head_dim].
    """
    num_kv_heads, head_dim = keys.shape[1:]
    groups = query.shape[1] // num_kv_heads
    # Of the whole arena and the whole step, once: what is left for each sequence is to cut its part out.
    keys, values = keys.transpose(0, 1).unsqueeze(0), values.transpose(0, 1).unsqueeze(0)
    query = query.view(-1, num_kv_heads, groups, head_dim)
    starts, lengths = row_starts.tolist(), kv_lengths.tolist()
    waiting = iter(masks or (causal_masks(starts, lengths, groups, query.device) if most_rows > 1 else []))
    parts = []
    for row, after, start, length in zip(starts, starts[1:], kv_starts.tolist(), lengths, strict=False):
        num_rows = after - row
        if not num_rows:
            continue
        if num_rows == 1:
            q, k, v = query.narrow(0, row, 1), keys.narrow(2, start, length), values.narrow(2, start, length)
            parts.append(functional.scaled_dot_product_attention(q, k, v))
            continue
        for first in range(0, num_rows, ROWS_TOGETHER):
            count = min(ROWS_TOGETHER, num_rows - first)
            seen = length - num_rows + first + count
            k, v = keys.narrow(2, start, seen), values.narrow(2, start, seen)
            # The query heads that share a key head become rows of one product: keys are never repeated.
            q = query.narrow(0, row + first, count).permute(1, 2, 0, 3)
            q = q.reshape(1, num_kv_heads, groups * count, head_dim)
            attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=next(waiting))
            parts.append(attended.reshape(num_kv_heads, groups, count, head_dim).permute(2, 0, 1, 3))
    # Rows behind the last sequence only fill the step up: whatever stands there is as good.
    parts.append(query[starts[-1] :])
    return torch.cat(parts).flatten(1, 2)


def flash(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    row_starts: Tensor,
    kv_starts: Tensor,
    kv_lengths: Tensor,
    masks: list[Tensor],
    most_rows: int,
    longest: int,
    splits: int,
) -> Tensor:
    """CUDA's, from the same arguments: FlashAttention. masks are not needed."""
    # What `varlen_attn` calls, without the kernel that it launches for a state of dropout.
    return torch.ops.aten._flash_attention_forward(
        query,
        keys,
        values,
        row_starts,
        kv_starts,
        most_rows,
        longest,
        0.0,
        most_rows > 1,
        False,
        window_size_left=-1,
        # One row sees all keys; told so, the kernel takes the heads of a group together and may split the keys. A
        # sequence's sums are the same beside others only where it always takes the causal kernel.
        window_size_right=-1 if most_rows == 1 and splits != 1 else 0,
        seqused_k=kv_lengths,
        num_splits=splits or None,
    )[0]


def _on_cuda(*arguments: Any) -> Tensor:
    """Sequence by sequence it waits for the device in every layer, and holds the scores of ROWS_TOGETHER at a time."""
    query: Tensor = arguments[0]
    return (flash if has_flash(query.device, query.dtype) else by_sequence)(*arguments)


def _shape_only(query: Tensor, *_: object) -> Tensor:
    return torch.empty_like(query)


def _register() -> None:
    """Once a process, under whichever name this room was imported."""
    if hasattr(getattr(torch.ops, NAMESPACE), NAME):
        return
    library.define(SCHEMA, tags=torch.Tag.pt2_compliant_tag)
    library.impl(NAME, by_sequence, "CPU")
    library.impl(NAME, _on_cuda, "CUDA")
    library.impl(NAME, _shape_only, "Meta")


library = torch.library.Library(NAMESPACE, "FRAGMENT")
_register()
ragged_attention = getattr(getattr(torch.ops, NAMESPACE), NAME)
