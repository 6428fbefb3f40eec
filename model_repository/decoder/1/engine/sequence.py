"""One request on its way through the engine."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ..network.kv_cache import Extent
from ..text.repetition import RepetitionGuard
from .sampling import Sampler, SamplingParams
from .sessions import SessionRequest

_numbers = itertools.count()


class Listener(Protocol):
    """Who is told what becomes of a sequence; called from the engine's thread, must not block."""

    def on_tokens(self, ids: list[int], logprobs: list[float]) -> None: ...

    def on_finish(self, sequence: Sequence) -> None: ...

    def on_error(self, message: str) -> None: ...

    def is_cancelled(self) -> bool: ...


@dataclass(frozen=True)
class Prompt:
    """Token ids around the audio and the audio's embeddings [rows, hidden_size].

    cached_rows: rows before `audio` that were left out, because the KV cache should have them.
    """

    before: list[int]
    audio: Tensor
    after: list[int]
    cached_rows: int = 0

    @property
    def num_cached(self) -> int:
        """Tokens that cannot be computed from this request."""
        return len(self.before) + self.cached_rows if self.cached_rows else 0

    def __len__(self) -> int:
        return len(self.before) + self.cached_rows + self.audio.shape[0] + len(self.after)


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
        self,
        request_id: str,
        prompt: Prompt,
        params: SamplingParams,
        priority: int,
        listener: Listener,
        draft: Iterable[int] = (),
        session: SessionRequest | None = None,
        draft_audio: Tensor | None = None,
    ) -> None:
        """draft: tokens that the answer probably begins with; they cost one pass, whatever the model thinks of them.

        draft_audio: the whole audio's embeddings for the draft network, where there is one.
        """
        self.number = next(_numbers)
        self.request_id = request_id
        self.prompt = prompt
        self.params = params
        self.priority = priority
        self.listener = listener
        self.sampler = Sampler(params)
        self.output_ids: list[int] = []
        # Tokens not yet verified.
        self.draft: list[int] = []
        self.num_drafted = 0
        self.num_accepted = 0
        self.draft_audio = draft_audio
        # How many tokens are in the draft network's KV cache.
        self.draft_computed = 0
        self.offer(draft)
        self.guard = RepetitionGuard(prompt.cached_rows + prompt.audio.shape[0])
        # Tokens and their log-probabilities that the listener has not been told.
        self.unshown: list[tuple[int, float]] = []
        self.session = session
        self.num_computed = 0
        self.extent: Extent | None = None
        self.finish_reason = ""
        self.timings = Timings()

    @property
    def num_tokens(self) -> int:
        return len(self.prompt) + len(self.output_ids)

    @property
    def num_pending(self) -> int:
        """Tokens that have to be computed before the next one can be chosen; a draft comes on top."""
        return self.num_tokens - self.num_computed

    @property
    def max_tokens(self) -> int:
        """Tokens of the whole sequence at its longest."""
        return len(self.prompt) + self.params.max_new_tokens

    def offer(self, draft: Iterable[int]) -> None:
        """Guess the next tokens; what lies beyond the answer's bound could not be accepted."""
        self.draft = list(itertools.islice(draft, self.params.max_new_tokens - len(self.output_ids)))
        self.num_drafted += len(self.draft)

    def rows(self, start: int, end: int, table: Tensor, audio: Tensor | None = None) -> Tensor:
        """Input rows of positions `start` to `end`, the draft's after the last token: [end - start, hidden_size].

        table: the embedding matrix [vocab_size, hidden_size]; the audio's positions take its embeddings: the prompt's
        or, for another network, those given.
        """
        audio = self.prompt.audio if audio is None else audio
        if start < self.prompt.num_cached:
            raise ValueError("rows that were left out cannot be computed again")
        audio_start = len(self.prompt.before) + self.prompt.cached_rows
        audio_end = audio_start + audio.shape[0]
        if end <= audio_start:
            return table[self.prompt.before[start:end]]
        before = self.prompt.before[start:] if start < audio_start else []
        after = [*self.prompt.after, *self.output_ids, *self.draft][max(0, start - audio_end) : max(0, end - audio_end)]
        heard = audio[max(0, start - audio_start) : max(0, end - audio_start)]
        return torch.cat([table[before], heard.to(table.device, table.dtype), table[after]])
