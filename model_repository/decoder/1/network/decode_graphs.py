"""Decoding in fixed shapes: a bucket of sequences at a time, as a CUDA graph or compiled.

A step in which every sequence adds one token is many small kernels, and on a fast GPU launching them takes longer than
running them. In fixed shapes (so many sequences, so much of the past) the step is recorded once and replayed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .kv_cache import KVCache
from .qwen3 import Qwen3, Span

logger = logging.getLogger(__name__)

SHORTEST_PAST = 256
# One long file beside many short ones would make a bucket of many long ones: such a step goes the other way.
MOST_GATHERED_BYTES = 2**30


@dataclass(frozen=True)
class Recorded:
    """A graph and the tensors it reads and writes."""

    graph: torch.cuda.CUDAGraph
    embeddings: Tensor
    positions: Tensor
    starts: Tensor
    hidden: Tensor


class DecodeGraphs:
    """Runs steps of one token a sequence in buckets of fixed shapes; owned by the engine's thread alone."""

    def __init__(self, network: Qwen3, cache: KVCache, batches: list[int], *, record: bool, compiled: bool) -> None:
        """batches: numbers of sequences to have a bucket for; a step takes the smallest that holds it.

        record: replay CUDA graphs; ValueError without CUDA. compiled: run what torch.compile makes of the step.
        """
        if record and network.device.type != "cuda":
            raise ValueError(f"cuda_graphs needs a CUDA device, not {network.device.type}")
        if not batches or min(batches) < 1:
            raise ValueError("decode_batches must name numbers of sequences, such as 1,2,4,8")
        self._network = network
        self._cache = cache
        self._batches = sorted(batches)
        self._record = record
        self._decode: Callable[..., Tensor] = network.decode
        if compiled:
            # Every bucket is a shape of its own, so nothing is made dynamic.
            self._decode = torch.compile(network.decode, dynamic=False, fullgraph=True)
        self._recorded: dict[tuple[int, int], Recorded] = {}
        # A graph's memory, which PyTorch gives no name to.
        self._pool: Any = None

    def covers(self, spans: list[Span]) -> bool:
        """Whether a step can run here: one token a sequence, not more of them than the largest bucket, and keys and
        values of a layer, which are gathered in the bucket's shape, within MOST_GATHERED_BYTES."""
        if len(spans) > self._batches[-1] or any(span.length != 1 for span in spans):
            return False
        config = self._network.config
        token_bytes = 2 * config.num_key_value_heads * config.head_dim * self._network.dtype.itemsize
        batch, past = self._bucket(spans)
        return batch * past * token_bytes <= MOST_GATHERED_BYTES

    def _bucket(self, spans: list[Span]) -> tuple[int, int]:
        """Sequences, and positions of the longest, of the smallest bucket that holds them."""
        past = SHORTEST_PAST
        while past <= max(span.position for span in spans):
            past *= 2
        return next(size for size in self._batches if size >= len(spans)), past

    def run(self, embeddings: Tensor, spans: list[Span]) -> Tensor:
        """embeddings [B, hidden_size] -> hidden states [B, hidden_size], as `Qwen3.forward` gives them."""
        batch, past = self._bucket(spans)
        spare = batch - len(spans)
        # Spare rows are a first token at the place that belongs to nobody.
        positions = torch.tensor([span.position for span in spans] + [0] * spare)
        starts = torch.tensor([span.kv_start for span in spans] + [self._cache.num_slots - 1] * spare)
        rows = torch.cat([embeddings, embeddings.new_zeros(spare, embeddings.shape[1])]) if spare else embeddings
        device = self._network.device
        if not self._record:
            hidden = self._decode(rows, positions.to(device), starts.to(device), past, self._cache)
            return hidden[: len(spans)]
        recorded = self._recorded.get((batch, past)) or self._capture(batch, past)
        recorded.embeddings.copy_(rows)
        recorded.positions.copy_(positions)
        recorded.starts.copy_(starts)
        recorded.graph.replay()
        # The next replay writes there again.
        return recorded.hidden[: len(spans)].clone()

    def _capture(self, batch: int, past: int) -> Recorded:
        network = self._network
        embeddings = torch.zeros(batch, network.config.hidden_size, device=network.device, dtype=network.dtype)
        positions = torch.zeros(batch, dtype=torch.int64, device=network.device)
        starts = torch.full_like(positions, self._cache.num_slots - 1)
        # What is chosen and allocated at the first runs may not happen during the recording.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self._decode(embeddings, positions, starts, past, self._cache)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            hidden = self._decode(embeddings, positions, starts, past, self._cache)
        # Graphs never run at the same time, so all share one pool of memory.
        self._pool = self._pool or graph.pool()
        logger.info("recorded a decode step of %d sequences and %d tokens of past", batch, past)
        recorded = Recorded(graph, embeddings, positions, starts, hidden)
        self._recorded[batch, past] = recorded
        return recorded
