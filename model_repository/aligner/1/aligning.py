"""One pass of the aligner's network over many clips: a class of time for each of their words' ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .network.layout import Layout, Span
from .network.qwen3 import Qwen3
from .prompt import Sequence


@dataclass(frozen=True)
class Clip:
    """sequence: what is read; audio: float32 [rows, hidden_size], its embeddings."""

    sequence: Sequence
    audio: NDArray[np.float32]

    @property
    def num_rows(self) -> int:
        return self.sequence.ids.size


@dataclass(frozen=True)
class Told:
    """classes: int64 [2 W], of every word's start and end in order; probabilities: float32 [2 W], of those classes."""

    classes: NDArray[np.int64]
    probabilities: NDArray[np.float32]


class OnePass:
    """The keys and values of a step in which every sequence begins and ends: a layer's are needed by that layer alone.

    Row i of the step is slot i.
    """

    def __init__(self) -> None:
        self._layer: tuple[Tensor, Tensor] | None = None

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """keys and values [T, key-value heads, head_dim], of all rows."""
        self._layer = keys.contiguous(), values.contiguous()

    def layer(self, layer: int) -> tuple[Tensor, Tensor]:
        """Those of the layer that was written last."""
        assert self._layer is not None
        return self._layer


class Aligner:
    """The network, and its head over classes of time in place of one over tokens."""

    def __init__(self, network: Qwen3) -> None:
        self.network = network
        self._groups = network.config.num_attention_heads // network.config.num_key_value_heads

    @torch.inference_mode()
    def tell(self, clips: list[Clip]) -> list[Told]:
        """Classes of every clip, together in one pass."""
        network = self.network
        ids: list[NDArray[np.int32]] = []
        spans: list[Span] = []
        rows: list[NDArray[np.int64]] = []
        row = heard = 0
        for clip in clips:
            own = clip.sequence.ids
            ids.append(np.where(own < 0, own - heard, own))
            spans.append(Span(row, own.size, 0, row))
            rows.append(row + clip.sequence.times)
            row += own.size
            heard += clip.audio.shape[0]
        audio = torch.from_numpy(np.concatenate([clip.audio for clip in clips])).to(network.device, network.dtype)
        embedded = network.embed(torch.from_numpy(np.concatenate(ids)).to(network.device), audio)
        layout = Layout.of(spans, self._groups, network.device, network.dtype)
        hidden = network.forward(embedded, layout, OnePass())
        asked = torch.from_numpy(np.concatenate(rows)).to(network.device)
        logits = network.logits(hidden[asked])
        best = logits.max(dim=-1)
        told = torch.stack([best.indices.float(), (best.values - logits.logsumexp(dim=-1)).exp()]).cpu().numpy()
        ends = np.cumsum([one.size for one in rows])[:-1]
        parts = zip(np.split(told[0], ends), np.split(told[1], ends), strict=True)
        return [Told(classes.astype(np.int64), probabilities) for classes, probabilities in parts]
