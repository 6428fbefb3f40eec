"""From the hidden states of a step to its tokens, which stay on the device for the next step and come to the host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .choosing import Draws, choose
from .qwen3 import Qwen3
from .recorder import Recorder
from .step import JUDGED_FIELDS, Ints, Kind, Step

# Rows whose tokens are chosen at a time, by kind: bounds the memory of logits, 150,000 a row, and of noise.
PLAIN_CHUNK = 256
CHUNKS = {Kind.PLAIN: PLAIN_CHUNK, Kind.BANNED: 128, Kind.DRAWN: 32, Kind.WATCHED: 64}
# Shapes in which the likeliest tokens are chosen.
CHOICES = (1, 2, 4, 8, 16, 32, 64, 128, PLAIN_CHUNK)


@dataclass(frozen=True)
class Judged:
    """Rows whose tokens are chosen in one way. fields: int32 [JUDGED_FIELDS, R]; pairs: int64 [2, W], whose
    log-probabilities are told beside: a place within the rows, and a token; counts: of those, how many of each row's
    place in the step; heated: whether any is drawn."""

    kind: Kind
    fields: Tensor
    pairs: Tensor | None = None
    counts: tuple[tuple[int, int], ...] = ()
    heated: bool = True


class Flight:
    """A step that was launched."""

    def __init__(self, told: Tensor, watched: list[tuple[Judged, Tensor]], arrived: Any) -> None:
        """told: int32 [2, R] on the host once `arrived`, an event or None, has come: tokens, and the bits of float32
        log-probabilities. watched: float32 [W], the log-probabilities that were wanted beside them."""
        self._told = told
        self._watched = watched
        self._arrived = arrived

    def tokens(self) -> tuple[list[int], list[float]]:
        """The tokens after the judged rows and their log-probabilities; waits for the device."""
        if self._arrived is not None:
            self._arrived.synchronize()
        told = self._told.numpy()
        return told[0].tolist(), told[1].view(np.float32).tolist()

    def watched(self) -> dict[int, NDArray[np.float32]]:
        """By judged row, the log-probabilities of the tokens that its choice names; once `tokens` are there."""
        scores: dict[int, NDArray[np.float32]] = {}
        for judged, tensor in self._watched:
            values, first = tensor.numpy(), 0
            for place, count in judged.counts:
                scores[place] = values[first : first + count]
                first += count
        return scores


class Picker:
    """Chooses tokens; owned by its runner."""

    def __init__(self, network: Qwen3, max_rows: int, end_ids: frozenset[int], *, pinned: bool) -> None:
        """max_rows: of one step; pinned: whether what comes back need not be waited for."""
        self._network = network
        self._device = network.device
        self._pinned = pinned
        is_end = torch.zeros(network.config.vocab_size, dtype=torch.bool)
        is_end[list(end_ids)] = True
        self._is_end = is_end.to(self._device)
        # Two in turns: a step is planned while the one before still runs.
        self._told = [torch.zeros(2 * max_rows, dtype=torch.int32, pin_memory=pinned) for _ in range(2)]
        self._turn = 0
        # Of a step, its tokens and then the bits of their log-probabilities: one piece, or it is copied in two.
        self.chosen = torch.zeros(2 * max_rows, dtype=torch.int32, device=self._device)
        # What recorded choices read and write lies in one place.
        self._judged = torch.zeros(JUDGED_FIELDS, PLAIN_CHUNK, dtype=torch.int32, device=self._device)
        self._picked = torch.zeros(2, PLAIN_CHUNK, dtype=torch.int32, device=self._device)
        self._graphs: dict[int, Any] = {}
        self._home = self._picked

    def record(self, recorder: Recorder, hidden: Tensor) -> None:
        """Record the choice of the likeliest tokens in every shape. hidden: where recorded steps leave their states."""
        self._home = hidden
        graphs = {}
        for size in sorted(CHOICES, reverse=True):
            graphs[size] = recorder.record(partial(self._into_picked, hidden, size))
        self._graphs = graphs

    def forget(self) -> None:
        """Go on without what was recorded."""
        self._graphs = {}

    def judged(self, step: Step, kind: Kind, host: Ints, fields: Tensor) -> Judged:
        """Rows that `Step.judged_chunks` names. host: their fields, and where these lie on the device."""
        if kind is not Kind.WATCHED:
            return Judged(kind, fields, heated=kind is Kind.DRAWN)
        places = host[6].tolist()
        watched = [own for place in places if (own := step.choices[place].watched) is not None]
        counts = tuple((place, len(own)) for place, own in zip(places, watched, strict=True))
        rows = np.repeat(np.arange(len(places)), [len(own) for own in watched])
        pairs = torch.from_numpy(np.stack([rows, np.concatenate(watched)]))
        if self._pinned:
            # A copy from other memory would wait for the step before.
            pairs = pairs.pin_memory()
        there = pairs.to(self._device, non_blocking=True)
        return Judged(kind, fields, there, counts, heated=bool(host[1].any()))

    def choose(self, step: Step, hidden: Tensor, judged: list[Judged]) -> Flight:
        """hidden: [rows, hidden_size]; judged: all that the step names."""
        self._turn ^= 1
        total = len(step.judged)
        chosen, told = self.chosen[: 2 * total], self._told[self._turn][: 2 * total]
        watched = []
        for part, picked, scores in self._parts(hidden, judged):
            if len(judged) == 1:
                # All of one kind, in their order.
                chosen.view(2, total).copy_(picked)
            else:
                chosen.view(2, total).index_copy_(1, part.fields[6].long(), picked)
            if scores is not None:
                arrived = torch.empty(scores.shape, pin_memory=self._pinned)
                watched.append((part, arrived.copy_(scores, non_blocking=True)))
        told.copy_(chosen, non_blocking=True)
        event = None
        if self._device.type != "cpu" and torch.cuda.is_available():
            event = torch.cuda.Event()
            event.record()
        return Flight(told.view(2, total), watched, event)

    def _parts(self, hidden: Tensor, judged: list[Judged]) -> Iterator[tuple[Judged, Tensor, Tensor | None]]:
        for part in judged:
            count = part.fields.shape[1]
            size = next((size for size in CHOICES if size >= count), 0)
            if part.kind is not Kind.PLAIN or size not in self._graphs:
                yield part, *self._pick(hidden, part)
                continue
            self._judged[:, :count].copy_(part.fields)
            if hidden.data_ptr() != self._home.data_ptr():
                self._home[: hidden.shape[0]].copy_(hidden)
            self._graphs[size].replay()
            yield part, self._picked[:, :count], None

    def _into_picked(self, hidden: Tensor, size: int) -> None:
        self._picked[:, :size] = self._pick(hidden, Judged(Kind.PLAIN, self._judged[:, :size]))[0]

    def _pick(self, hidden: Tensor, judged: Judged) -> tuple[Tensor, Tensor | None]:
        """int32 [2, R], tokens and the bits of their log-probabilities; and float32 [W], the log-probabilities of the
        pairs."""
        fields, pairs = judged.fields, judged.pairs
        logits = self._network.logits(hidden[fields[0].long()])
        draws = None
        if judged.kind is not Kind.PLAIN:
            low, high = fields[2].long(), fields[3].long()
            seeds = (high << 32) | (low & 0xFFFFFFFF)
            draws = Draws(fields[1].view(torch.float32), seeds, fields[4].long(), fields[5] > 0, judged.heated)
        tokens, logprobs = choose(logits, draws, self._is_end)
        scores = None
        if pairs is not None:
            scores = (logits[pairs[0], pairs[1]] - torch.logsumexp(logits, dim=-1)[pairs[0]]).clamp(max=0.0)
        return torch.stack([tokens.int(), logprobs.view(torch.int32)]), scores
