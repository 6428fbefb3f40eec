"""Keys and values of running sequences, in one arena that is taken once.

A sequence owns one contiguous extent, long enough for its prompt and its longest answer. So attention reads plain
slices; what is too long to fit waits. Extents are handed out first-fit, and free neighbours grow together again.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, order=True)
class Extent:
    """Tokens `start` to `start + size` of the arena."""

    start: int
    size: int


class ExtentAllocator:
    """Hands out extents of a line of `capacity` tokens."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.reset()

    def reset(self) -> None:
        """Everything is free again."""
        self._free = [Extent(0, self.capacity)]

    @property
    def num_free(self) -> int:
        return sum(extent.size for extent in self._free)

    def allocate(self, size: int) -> Extent | None:
        """The first free extent of that size, or None; ValueError where the arena could never hold it."""
        if not 0 < size <= self.capacity:
            raise ValueError(f"{size} tokens do not fit into a KV cache of {self.capacity}")
        for index, free in enumerate(self._free):
            if free.size >= size:
                rest = [Extent(free.start + size, free.size - size)] if free.size > size else []
                self._free[index : index + 1] = rest
                return Extent(free.start, size)
        return None

    def shrink(self, extent: Extent, size: int) -> Extent:
        """Give back what an extent has beyond `size` tokens."""
        if size < extent.size:
            self.release(Extent(extent.start + size, extent.size - size))
        return Extent(extent.start, min(size, extent.size))

    def grow(self, extent: Extent, size: int) -> Extent | None:
        """The extent made `size` tokens long in its place, or None where its neighbour is taken."""
        missing = size - extent.size
        if missing <= 0:
            return extent
        for index, free in enumerate(self._free):
            if free.start == extent.start + extent.size and free.size >= missing:
                rest = [Extent(free.start + missing, free.size - missing)] if free.size > missing else []
                self._free[index : index + 1] = rest
                return Extent(extent.start, size)
        return None

    def release(self, extent: Extent) -> None:
        """Take an extent back and join it with its free neighbours."""
        insort(self._free, extent)
        joined: list[Extent] = []
        for free in self._free:
            if joined and joined[-1].start + joined[-1].size == free.start:
                joined[-1] = Extent(joined[-1].start, joined[-1].size + free.size)
            else:
                joined.append(free)
        self._free = joined


class KVCache:
    """The arena's tensors: keys and values [layers, tokens, key-value heads, head_dim]."""

    def __init__(
        self,
        num_layers: int,
        num_tokens: int,
        num_kv_heads: int,
        head_dim: int,
        device: torch.device,
        dtype: torch.dtype,
        extents: ExtentAllocator | None = None,
    ) -> None:
        """extents: another cache's, where a second network keeps the same sequences in the same places."""
        # One more than is handed out: rows that only fill a batch up write there.
        self.num_slots = num_tokens + 1
        shape = (num_layers, self.num_slots, num_kv_heads, head_dim)
        # Written at once: what is only promised would be taken page by page, and be missing then.
        self._keys, self._values = (torch.empty(shape, device=device, dtype=dtype).zero_() for _ in range(2))
        # Each layer's, once: a compiled step that cuts them out itself copies the whole arena to write to it.
        self._layers = [(self._keys[layer], self._values[layer]) for layer in range(num_layers)]
        self.extents = extents or ExtentAllocator(num_tokens)

    @staticmethod
    def token_bytes(num_layers: int, num_kv_heads: int, head_dim: int, dtype: torch.dtype) -> int:
        """Memory of one token."""
        return 2 * num_layers * num_kv_heads * head_dim * dtype.itemsize

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """slots int64 [T]: tokens of the arena; keys and values [T, key-value heads, head_dim]."""
        own_keys, own_values = self._layers[layer]
        own_keys.index_copy_(0, slots, keys)
        own_values.index_copy_(0, slots, values)

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy `length` tokens of all layers from `source` to `target`, two starts whose extents do not overlap."""
        for arena in (self._keys, self._values):
            arena[:, target : target + length] = arena[:, source : source + length]

    def layer(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer, views [tokens of the arena, key-value heads, head_dim]."""
        return self._layers[layer]
