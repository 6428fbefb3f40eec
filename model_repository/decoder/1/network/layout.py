"""Where the rows of a step lie: which sequence each belongs to, its position, its place in the KV arena."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .attention import attends_by_sequence, causal_masks


@dataclass(frozen=True)
class Span:
    """One sequence's part of a step: rows `row` to `row + length`, whose first token is at `position` of the sequence.

    kv_start: where the sequence begins in the KV cache.
    """

    row: int
    length: int
    position: int
    kv_start: int


@dataclass(frozen=True)
class Layout:
    """A step's layout on its device.

    positions, slots: int32 and int64 [T]; row_starts, kv_starts: int32 [B + 1]; kv_lengths: int32 [B]; as
    `ragged_attention` takes them. most_rows, longest: upper bounds of a sequence's rows and of its keys.
    """

    positions: Tensor
    slots: Tensor
    row_starts: Tensor
    kv_starts: Tensor
    kv_lengths: Tensor
    masks: list[Tensor]
    most_rows: int
    longest: int
    splits: int = 0

    @classmethod
    def of(cls, spans: Sequence[Span], groups: int, device: torch.device, dtype: torch.dtype) -> Layout:
        """groups: query heads of one key-value head; dtype: of keys and values."""
        positions = [p for s in spans for p in range(s.position, s.position + s.length)]
        slots = [s.kv_start + s.position + i for s in spans for i in range(s.length)]
        row_starts = [*(s.row for s in spans), spans[-1].row + spans[-1].length]
        lengths = [s.position + s.length for s in spans]

        def int32(values: list[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.int32).to(device)

        return cls(
            positions=int32(positions),
            slots=torch.tensor(slots).to(device),
            row_starts=int32(row_starts),
            kv_starts=int32([*(s.kv_start for s in spans), 0]),
            kv_lengths=int32(lengths),
            masks=causal_masks(row_starts, lengths, groups, device) if attends_by_sequence(device, dtype) else [],
            most_rows=max(s.length for s in spans),
            longest=max(lengths),
        )
