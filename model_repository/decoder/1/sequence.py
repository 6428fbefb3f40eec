"""One request on its way through the engine."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from .kv_cache import Extent
from .sampling import Sampler, SamplingParams

_numbers = itertools.count()


class Listener(Protocol):
    """Who is told what becomes of a sequence; called from the engine's thread, must not block."""

    def on_tokens(self, ids: list[int], logprobs: list[float]) -> None: ...

    def on_finish(self, sequence: Sequence) -> None: ...

    def on_error(self, message: str) -> None: ...

    def is_cancelled(self) -> bool: ...


@dataclass(frozen=True)
class Prompt:
    """Token ids around the audio and the audio's embeddings [rows, hidden_size]."""

    before: list[int]
    audio: Tensor
    after: list[int]

    def __len__(self) -> int:
        return len(self.before) + self.audio.shape[0] + len(self.after)


@dataclass
class Timings:
    """Monotonic seconds of what happened to a sequence; 0 where it has not."""

    arrived: float = field(default_factory=time.monotonic)
    started: float = 0.0
    first_token: float = 0.0
    finished: float = 0.0

    def as_ms(self) -> dict[str, float]:
        """queue until it first ran, prefill until its first token, decode after it; all in milliseconds."""
        started = self.started or self.finished
        first = self.first_token or self.finished
        spans = {
            "queue": started - self.arrived,
            "prefill": first - started,
            "decode": self.finished - first,
            "first_token": first - self.arrived,
            "total": self.finished - self.arrived,
        }
        return {name: round(seconds * 1000, 3) for name, seconds in spans.items()}


class Sequence:
    """A prompt, the tokens generated so far, and how many of both are in the KV cache."""

    def __init__(
        self, request_id: str, prompt: Prompt, params: SamplingParams, priority: int, listener: Listener
    ) -> None:
        self.number = next(_numbers)
        self.request_id = request_id
        self.prompt = prompt
        self.params = params
        self.priority = priority
        self.listener = listener
        self.sampler = Sampler(params)
        self.output_ids: list[int] = []
        self.num_computed = 0
        self.extent: Extent | None = None
        self.finish_reason = ""
        self.timings = Timings()

    @property
    def num_tokens(self) -> int:
        return len(self.prompt) + len(self.output_ids)

    @property
    def num_pending(self) -> int:
        """Tokens that have to be computed before the next one can be chosen."""
        return self.num_tokens - self.num_computed

    @property
    def max_tokens(self) -> int:
        """Tokens of the whole sequence at its longest."""
        return len(self.prompt) + self.params.max_new_tokens

    def rows(self, start: int, end: int, table: Tensor) -> Tensor:
        """Input rows of positions `start` to `end`: [end - start, hidden_size].

        table: the embedding matrix [vocab_size, hidden_size]; the audio's positions take its own embeddings.
        """
        audio_start = len(self.prompt.before)
        audio_end = audio_start + self.prompt.audio.shape[0]
        before = self.prompt.before[start:audio_start]
        if end <= audio_start:
            return table[self.prompt.before[start:end]]
        after = [*self.prompt.after, *self.output_ids][max(0, start - audio_end) : max(0, end - audio_end)]
        audio = self.prompt.audio[max(0, start - audio_start) : max(0, end - audio_start)]
        return torch.cat([table[before], audio, table[after]])
