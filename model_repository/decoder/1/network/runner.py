"""Runs planned steps on the network's device: one copy there, the layers, the choice of tokens, one copy back.

Nothing of a step waits for the device but `Flight.tokens`, so the host may plan and launch the next one meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .attention import causal_masks, has_flash, ragged_attention
from .choosing import Draws, choose
from .kv_cache import KVCache
from .layout import Layout
from .qwen3 import Qwen3
from .shapes import Shape, Shapes
from .step import AHEAD, JUDGED_FIELDS, Kind, Step, packed_size, split

logger = logging.getLogger(__name__)

# Rows whose tokens are chosen at a time, by kind: bounds the memory of logits, 150,000 a row, and of noise.
PLAIN_CHUNK = 256
CHUNKS = {Kind.PLAIN: PLAIN_CHUNK, Kind.BANNED: PLAIN_CHUNK, Kind.DRAWN: 32}
# Shapes in which the likeliest tokens are chosen.
CHOICES = (1, 2, 4, 8, 16, 32, 64, 128, PLAIN_CHUNK)


@dataclass
class Counters:
    """Steps that ran in a fixed shape, and all; processor time of the thread that runs them, spent in the network:
    embeddings, layers and the choice of tokens, without what plans a step and hands its tokens out."""

    fixed: int = 0
    steps: int = 0
    cpu_seconds: float = 0.0


class Flight:
    """A step that was launched."""

    def __init__(self, told: Tensor, arrived: Any) -> None:
        """told: int32 [2, R] on the host once `arrived`, an event or None, has come: tokens, and the bits of float32
        log-probabilities."""
        self._told = told
        self._arrived = arrived

    def tokens(self) -> tuple[list[int], list[float]]:
        """The tokens after the judged rows and their log-probabilities; waits for the device."""
        if self._arrived is not None:
            self._arrived.synchronize()
        told = self._told.numpy()
        return told[0].tolist(), told[1].view(np.float32).tolist()


class StepRunner:
    """Owned by the engine's thread alone, but for `record`, which comes before it."""

    def __init__(
        self,
        network: Qwen3,
        cache: KVCache,
        max_rows: int,
        max_sequences: int,
        end_ids: frozenset[int] = frozenset(),
        shapes: Shapes | None = None,
        *,
        compiled: bool = False,
        splits: int = 0,
    ) -> None:
        """max_rows, max_sequences: of one step. shapes: which steps are filled up to, for `record` or to be compiled.
        splits: over how many blocks the keys of a decoding sequence are spread, 0: as it is fastest."""
        self.network = network
        self.cache = cache
        self.counters = Counters()
        self._groups = network.config.num_attention_heads // network.config.num_key_value_heads
        self._shapes = shapes
        self._splits = splits
        device = network.device
        self._on_host = device.type == "cpu"
        is_end = torch.zeros(network.config.vocab_size, dtype=torch.bool)
        is_end[list(end_ids)] = True
        self._is_end = is_end.to(device)
        size = packed_size(max_rows, max_sequences) + JUDGED_FIELDS * max_rows
        width = network.config.hidden_size
        # Pinned, a copy need not be waited for. Two of each, in turns: a step is planned while the one before still
        # runs.
        pinned = torch.cuda.is_available() and not self._on_host
        self._planned = [torch.zeros(size, dtype=torch.int32, pin_memory=pinned) for _ in range(2)]
        self._heard = [torch.zeros(max_rows, width, dtype=network.dtype, pin_memory=pinned) for _ in range(2)]
        self._told = [torch.zeros(2 * max_rows, dtype=torch.int32, pin_memory=pinned) for _ in range(2)]
        self._turn = 0
        # What recorded steps read and write lies in one place.
        self._plan = torch.zeros(size, dtype=torch.int32, device=device)
        self._audio = torch.zeros(max_rows, width, dtype=network.dtype, device=device)
        self._hidden = torch.zeros(max_rows, width, dtype=network.dtype, device=device)
        # Of a step, its tokens and then the bits of their log-probabilities: one piece, or it is copied in two.
        self._chosen = torch.zeros(2 * max_rows, dtype=torch.int32, device=device)
        self._judged = torch.zeros(JUDGED_FIELDS, PLAIN_CHUNK, dtype=torch.int32, device=device)
        self._picked = torch.zeros(2, PLAIN_CHUNK, dtype=torch.int32, device=device)
        self._run_layers: Callable[..., Tensor] = self._layers
        if compiled:
            # Every shape is one of its own, so nothing is made dynamic.
            self._run_layers = torch.compile(self._layers, dynamic=False, fullgraph=True)
        self._layer_graphs: dict[Shape, Any] = {}
        self._choice_graphs: dict[int, Any] = {}

    def launch(self, step: Step) -> Flight:
        """Begin a step; its tokens come by the flight."""
        self._turn ^= 1
        self.counters.steps += 1
        shape = self.shape_of(step)
        rows, sequences = (step.num_rows, step.num_sequences) if shape is None else (shape.rows, shape.sequences)
        judged = self._send(step, rows, sequences)
        began = time.thread_time()
        if shape is None:
            hidden = self._eager(step)
        else:
            self.counters.fixed += 1
            hidden = self._in_shape(shape)
        flight = self._choose(step, hidden, judged)
        self.counters.cpu_seconds += time.thread_time() - began
        return flight

    def shape_of(self, step: Step) -> Shape | None:
        """The fixed shape that a step runs in, or None."""
        if self._shapes is None:
            return None
        shape = self._shapes.fit(
            step.num_rows, step.num_sequences, step.most_rows, step.longest, has_audio=step.num_audio > 0
        )
        # Masks, which several rows of a sequence need on the CPU, never have the same shapes.
        return None if shape is None or (self._needs_masks and not shape.is_decode) else shape

    @property
    def _needs_masks(self) -> bool:
        return self._on_host and self.network.attention is ragged_attention

    def record(self) -> None:
        """Record every shape as a CUDA graph, before the first step and on the thread's device. Where one cannot be
        recorded, all steps run without, and the log says so. Raises ValueError without CUDA."""
        if self._on_host:
            raise ValueError(f"cuda_graphs needs a CUDA device, not {self.network.device.type}")
        if not has_flash(self.network.device, self.network.dtype):
            logger.warning(
                "steps are not recorded: FlashAttention takes float16 and bfloat16 on Ampere and later, not %s here",
                self.network.dtype,
            )
            self._shapes = None
            return
        assert self._shapes is not None
        started, recorder = time.monotonic(), Recorder()
        try:
            for shape in self._shapes:
                self._send(self._blank(), shape.rows, shape.sequences)
                run = self._into_hidden(shape)
                self._layer_graphs[shape] = recorder.record(run)
            for size in sorted(CHOICES, reverse=True):
                self._choice_graphs[size] = recorder.record(partial(self._into_picked, size))
        except Exception:
            logger.exception("steps cannot be recorded as CUDA graphs: they run one kernel after the other, slower")
            self._layer_graphs, self._choice_graphs, self._shapes = {}, {}, None
            return
        logger.info("recorded %d shapes of a step in %.1f s", len(self._layer_graphs), time.monotonic() - started)

    def _blank(self) -> Step:
        """A first token at the place that belongs to nobody."""
        step = Step()
        step.add(np.zeros(1, dtype=np.int32), 0, self.cache.num_slots - 1)
        return step

    def _into_hidden(self, shape: Shape) -> Callable[[], object]:
        arguments = self._arguments(shape)
        return lambda: self._hidden[: shape.rows].copy_(self._run_layers(self._plan, *arguments, []))

    def _into_picked(self, size: int) -> None:
        self._picked[:, :size] = self._pick(self._hidden, Kind.PLAIN, self._judged[:, :size])

    def _send(self, step: Step, rows: int, sequences: int) -> list[tuple[Kind, Tensor]]:
        """The layout, the audio and the rows to judge, to the device; returns the last, int32 [JUDGED_FIELDS, R]
        each."""
        size = packed_size(rows, sequences)
        planned = self._planned[self._turn].numpy()
        step.pack(planned[:size], rows, sequences, self.cache.num_slots - 1)
        plan = self._planned[self._turn] if self._on_host else self._plan
        judged = []
        for kind, fields in step.judged_chunks(CHUNKS):
            planned[size : size + fields.size] = fields.ravel()
            judged.append((kind, plan[size : size + fields.size].view(fields.shape)))
            size += fields.size
        if not self._on_host:
            plan[:size].copy_(self._planned[self._turn][:size], non_blocking=True)
        if step.audio:
            heard = self._heard[self._turn][: step.num_audio]
            torch.cat([part.to(heard.dtype) for part in step.audio], out=heard)
            if not self._on_host:
                self._audio[: step.num_audio].copy_(heard, non_blocking=True)
        return judged

    def _eager(self, step: Step) -> Tensor:
        rows, sequences, most = step.num_rows, step.num_sequences, step.most_rows
        masks: list[Tensor] = []
        if self._needs_masks and most > 1:
            parts = split(self._planned[self._turn].numpy(), rows, sequences)
            masks = causal_masks(parts.row_starts.tolist(), parts.kv_lengths.tolist(), self._groups)
        plan = self._planned[self._turn] if self._on_host else self._plan
        return self._layers(plan, rows, sequences, most, step.longest, step.num_audio > 0, step.is_ahead, masks)

    def _in_shape(self, shape: Shape) -> Tensor:
        graph = self._layer_graphs.get(shape)
        if graph is not None:
            graph.replay()
            return self._hidden[: shape.rows]
        plan = self._planned[self._turn] if self._on_host else self._plan
        return self._run_layers(plan, *self._arguments(shape), [])

    def _arguments(self, shape: Shape) -> tuple[int, int, int, int, bool, bool]:
        """What of a shape `_layers` takes. Any step may have tokens that only the device knows."""
        longest = min(shape.longest, self.cache.num_slots)
        return shape.rows, shape.sequences, shape.most_rows, longest, not shape.is_decode, True

    def _layers(
        self,
        plan: Tensor,
        rows: int,
        sequences: int,
        most_rows: int,
        longest: int,
        has_audio: bool,
        is_ahead: bool,
        masks: list[Tensor],
    ) -> Tensor:
        """Normalized hidden states [rows, hidden_size]."""
        parts = split(plan, rows, sequences)
        ids = parts.ids
        if is_ahead:
            # Of the step before, whose tokens are overwritten behind this one.
            known = self._chosen[(AHEAD - ids).clamp(min=0).long()]
            ids = torch.where(ids <= AHEAD, known, ids)
        layout = Layout(
            positions=parts.positions,
            slots=parts.slots.long(),
            row_starts=parts.row_starts,
            kv_starts=parts.kv_starts,
            kv_lengths=parts.kv_lengths,
            masks=masks,
            most_rows=most_rows,
            longest=longest,
            splits=self._splits,
        )
        audio = self._heard[self._turn] if self._on_host else self._audio
        embeddings = self.network.embed(ids, audio if has_audio else None)
        return self.network.forward(embeddings, layout, self.cache)

    def _choose(self, step: Step, hidden: Tensor, judged: list[tuple[Kind, Tensor]]) -> Flight:
        total = len(step.judged)
        chosen, told = self._chosen[: 2 * total], self._told[self._turn][: 2 * total]
        if len(judged) == 1:
            # All of one kind, in their order.
            chosen.view(2, total).copy_(self._picked_of(hidden, *judged[0]))
        else:
            for kind, fields in judged:
                chosen.view(2, total).index_copy_(1, fields[6].long(), self._picked_of(hidden, kind, fields))
        told.copy_(chosen, non_blocking=True)
        arrived = None
        if not self._on_host and torch.cuda.is_available():
            arrived = torch.cuda.Event()
            arrived.record()
        return Flight(told.view(2, total), arrived)

    def _picked_of(self, hidden: Tensor, kind: Kind, fields: Tensor) -> Tensor:
        count = fields.shape[1]
        size = next((size for size in CHOICES if size >= count), 0)
        if kind is not Kind.PLAIN or size not in self._choice_graphs:
            return self._pick(hidden, kind, fields)
        self._judged[:, :count].copy_(fields)
        if hidden.data_ptr() != self._hidden.data_ptr():
            self._hidden[: hidden.shape[0]].copy_(hidden)
        self._choice_graphs[size].replay()
        return self._picked[:, :count]

    def _pick(self, hidden: Tensor, kind: Kind, fields: Tensor) -> Tensor:
        """fields: int32 [JUDGED_FIELDS, R] -> int32 [2, R], tokens and the bits of their log-probabilities."""
        logits = self.network.logits(hidden[fields[0].long()])
        draws = None
        if kind is not Kind.PLAIN:
            low, high = fields[2].long(), fields[3].long()
            seeds = (high << 32) | (low & 0xFFFFFFFF)
            heated = kind is Kind.DRAWN
            draws = Draws(fields[1].view(torch.float32), seeds, fields[4].long(), fields[5] > 0, heated)
        tokens, logprobs = choose(logits, draws, self._is_end)
        return torch.stack([tokens.int(), logprobs.view(torch.int32)])


class Recorder:
    """Makes CUDA graphs that share one pool of memory, as they never run at the same time, and one stream beside the
    usual one, as every stream keeps memory of its own for products."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()
        self._pool: Any = None

    def record(self, run: Callable[[], object]) -> Any:
        """A graph of what `run` does."""
        # What is chosen and allocated at the first run may not happen during the recording.
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream), torch.inference_mode():
            run()
        torch.cuda.current_stream().wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        recording = torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local")
        # Other threads of the process may go on meanwhile.
        with torch.inference_mode(), recording:
            run()
        self._pool = self._pool or graph.pool()
        return graph
