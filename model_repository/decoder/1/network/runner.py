"""Runs planned steps on the network's device: one copy there, the layers, the choice of tokens, one copy back.

Nothing of a step waits for the device but `Flight.tokens`, so the host may plan and launch the next one meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .attention import attends_by_sequence, by_sequence, causal_masks, has_flash, ragged_attention
from .compiled import Compiled
from .kv_cache import KVCache
from .layout import Layout
from .picking import CHUNKS, Flight, Judged, Picker
from .qwen3 import Qwen3
from .recorder import Recorder
from .shapes import Shape, Shapes
from .step import AHEAD, JUDGED_FIELDS, Step, packed_size, split

logger = logging.getLogger(__name__)


@dataclass
class Counters:
    """Steps that ran in a fixed shape, and all; processor time of the thread that runs them, spent in the network:
    embeddings, layers and the choice of tokens, without what plans a step and hands its tokens out."""

    fixed: int = 0
    steps: int = 0
    cpu_seconds: float = 0.0


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
        self._by_sequence = attends_by_sequence(device, network.dtype)
        size = packed_size(max_rows, max_sequences) + JUDGED_FIELDS * max_rows
        width = network.config.hidden_size
        # Pinned, a copy need not be waited for. Two of each, in turns: a step is planned while the one before still
        # runs.
        pinned = torch.cuda.is_available() and not self._on_host
        self._planned = [torch.zeros(size, dtype=torch.int32, pin_memory=pinned) for _ in range(2)]
        self._heard = [torch.zeros(max_rows, width, dtype=network.dtype, pin_memory=pinned) for _ in range(2)]
        self._planned_arrays = [planned.numpy() for planned in self._planned]
        self._turn = 0
        # What recorded steps read and write lies in one place.
        self._plan = torch.zeros(size, dtype=torch.int32, device=device)
        self._audio = torch.zeros(max_rows, width, dtype=network.dtype, device=device)
        self._hidden = torch.zeros(max_rows, width, dtype=network.dtype, device=device)
        self._picker = Picker(network, max_rows, end_ids, pinned=pinned)
        self._run_layers: Callable[..., Tensor] = self._layers
        if compiled and shapes is not None:
            self._run_layers = Compiled(self._layers, len(shapes))
        self._layer_graphs: dict[Shape, Any] = {}

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
        flight = self._picker.choose(step, hidden, judged)
        self.counters.cpu_seconds += time.thread_time() - began
        return flight

    def shape_of(self, step: Step) -> Shape | None:
        """The fixed shape that a step runs in, or None."""
        if self._shapes is None:
            return None
        shape = self._shapes.fit(
            step.num_rows, step.num_sequences, step.most_rows, step.longest, has_audio=step.num_audio > 0
        )
        # Masks, which several rows of a sequence need where FlashAttention is not, never have the same shapes.
        return None if shape is None or (self._needs_masks and not shape.is_decode) else shape

    @property
    def _needs_masks(self) -> bool:
        return self._by_sequence and self.network.attention in (by_sequence, ragged_attention)

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
            self._picker.record(recorder, self._hidden)
        except Exception:
            logger.exception("steps cannot be recorded as CUDA graphs: they run one kernel after the other, slower")
            self._layer_graphs, self._shapes = {}, None
            self._picker.forget()
            return
        logger.info("recorded %d shapes of a step in %.1f s", len(self._layer_graphs), time.monotonic() - started)

    def _blank(self) -> Step:
        """A first token at the place that belongs to nobody."""
        step = Step()
        step.add(np.zeros(1, dtype=np.int32), 0, self.cache.num_slots - 1)
        return step

    def _into_hidden(self, shape: Shape) -> Callable[[], object]:
        arguments = self._arguments(shape)
        return lambda: self._hidden[: shape.rows].copy_(self._run_layers(*arguments))

    def _send(self, step: Step, rows: int, sequences: int) -> list[Judged]:
        """The layout, the audio and the rows to judge, to the device; returns the last."""
        size = packed_size(rows, sequences)
        planned = self._planned_arrays[self._turn]
        step.pack(planned[:size], rows, sequences, self.cache.num_slots - 1)
        plan = self._planned[self._turn] if self._on_host else self._plan
        judged = []
        for kind, fields in step.judged_chunks(CHUNKS):
            planned[size : size + fields.size] = fields.ravel()
            there = plan[size : size + fields.size].view(fields.shape)
            judged.append(self._picker.judged(step, kind, fields, there))
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
            parts = split(self._planned_arrays[self._turn], rows, sequences)
            starts, lengths = parts.row_starts.tolist(), parts.kv_lengths.tolist()
            masks = causal_masks(starts, lengths, self._groups, self.network.device)
        sent = self._sent(has_audio=step.num_audio > 0)
        return self._layers(*sent, rows, sequences, most, step.longest, step.is_ahead, masks)

    def _in_shape(self, shape: Shape) -> Tensor:
        graph = self._layer_graphs.get(shape)
        if graph is not None:
            graph.replay()
            return self._hidden[: shape.rows]
        return self._run_layers(*self._arguments(shape))

    def _sent(self, *, has_audio: bool) -> tuple[Tensor, Tensor | None]:
        """Where a step's plan and its audio lie. Arguments, for what a compiled function finds in `self` it is compiled
        for alone, the turn among it."""
        plan, audio = self._plan, self._audio
        if self._on_host:
            plan, audio = self._planned[self._turn], self._heard[self._turn]
        return plan, audio if has_audio else None

    def _arguments(self, shape: Shape) -> tuple[Any, ...]:
        """What `_layers` takes of a shape. Any step may have tokens that only the device knows."""
        longest = min(shape.longest, self.cache.num_slots)
        sent = self._sent(has_audio=not shape.is_decode)
        return *sent, shape.rows, shape.sequences, shape.most_rows, longest, True, []

    def _layers(
        self,
        plan: Tensor,
        audio: Tensor | None,
        rows: int,
        sequences: int,
        most_rows: int,
        longest: int,
        is_ahead: bool,
        masks: list[Tensor],
    ) -> Tensor:
        """Normalized hidden states [rows, hidden_size]. audio: that of a step that may have some."""
        parts = split(plan, rows, sequences)
        ids = parts.ids
        if is_ahead:
            # Of the step before, whose tokens are overwritten behind this one.
            known = self._picker.chosen[(AHEAD - ids).clamp(min=0).long()]
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
        return self.network.forward(self.network.embed(ids, audio), layout, self.cache)
