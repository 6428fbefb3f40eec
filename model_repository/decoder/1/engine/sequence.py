"""One request on its way through the engine."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..network.kv_cache import Extent
from ..network.step import AHEAD, Choice
from ..text.repetition import RepetitionGuard
from .biasing import Biasing
from .sampling import SamplingParams
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
        biasing: Biasing | None = None,
    ) -> None:
        """draft: tokens that the answer probably begins with; they cost one pass, whatever the model thinks of them.

        draft_audio: the whole audio's embeddings for the draft network, where there is one. biasing: the request's
        hotwords.
        """
        self.number = next(_numbers)
        self.request_id = request_id
        self.prompt = prompt
        self.num_prompt_tokens = len(prompt)
        self.params = params
        self.priority = priority
        self.listener = listener
        self.output_ids: list[int] = []
        # Where the step that runs has the next token, which the device knows and the host does not; None: nowhere.
        self.ahead: int | None = None
        # It has its answer, or was told that there is none.
        self.is_over = False
        # Tokens not yet verified.
        self.draft: list[int] = []
        self.num_drafted = 0
        self.num_accepted = 0
        self.draft_audio = draft_audio
        # How many tokens are in the draft network's KV cache.
        self.draft_computed = 0
        self.offer(draft)
        self.biasing = biasing
        self.guard = RepetitionGuard(prompt.cached_rows + prompt.audio.shape[0])
        # Tokens and their log-probabilities that the listener has not been told.
        self.unshown: list[tuple[int, float]] = []
        self.session = session
        self.num_computed = 0
        self.extent: Extent | None = None
        self.finish_reason = ""
        self.timings = Timings()

    @property
    def num_chosen(self) -> int:
        """Tokens of the answer, the one that only the device knows among them."""
        return len(self.output_ids) + (self.ahead is not None)

    @property
    def num_tokens(self) -> int:
        return self.num_prompt_tokens + self.num_chosen

    @property
    def num_pending(self) -> int:
        """Tokens that have to be computed before the next one can be chosen; a draft comes on top."""
        return self.num_tokens - self.num_computed

    @property
    def is_full(self) -> bool:
        """Whether its last token was chosen, and only has to be told."""
        return self.num_chosen >= self.params.max_new_tokens

    @property
    def max_tokens(self) -> int:
        """Tokens of the whole sequence at its longest."""
        return self.num_prompt_tokens + self.params.max_new_tokens

    def offer(self, draft: Iterable[int]) -> None:
        """Guess the next tokens; what lies beyond the answer's bound could not be accepted."""
        self.draft = list(itertools.islice(draft, self.params.max_new_tokens - len(self.output_ids)))
        self.num_drafted += len(self.draft)

    def choices(self, count: int) -> list[Choice]:
        """How the token after the last one is chosen, and after each of the draft's, `count` in all."""
        choices = [self.params.choice(self.num_chosen + index) for index in range(count)]
        if self.biasing is None or not count:
            return choices
        watched = self.biasing.watched(self.draft, count)
        return [replace(one, watched=wanted) for one, wanted in zip(choices, watched, strict=True)]

    @property
    def num_held(self) -> int:
        """Tokens at the answer's end that may not be told yet, because they may be taken back."""
        attempted = 0 if self.biasing is None else self.biasing.num_held(len(self.output_ids))
        return max(self.guard.num_held, attempted)

    def show(self, count: int) -> None:
        """Tell the listener the next `count` tokens."""
        shown, self.unshown = self.unshown[: max(0, count)], self.unshown[max(0, count) :]
        if shown:
            self.listener.on_tokens([token for token, _ in shown], [logprob for _, logprob in shown])

    def conclude(self, reason: str) -> None:
        """End the answer, and tell what is left of it; of a loop only the copies that are kept."""
        self.finish_reason = reason
        self.timings.finished = time.monotonic()
        held = self.guard.num_held if reason == "repetition" else 0
        if held:
            del self.output_ids[-held:]
        self.show(len(self.unshown) - held)

    def give_back(self, count: int) -> None:
        """Forget the last tokens of the answer, which nobody was told."""
        if not count:
            return
        del self.output_ids[-count:]
        del self.unshown[-count:]
        self.num_computed = min(self.num_computed, self.num_tokens)
        self.guard = self.guard.anew(self.output_ids)

    def ids(
        self, start: int, end: int, first_audio: int, audio: Tensor | None = None
    ) -> tuple[NDArray[np.int32], Tensor | None]:
        """Ids of positions `start` to `end`, the draft's after the last token, as `Step.add` wants them, and the rows
        of the audio that they call by -1 - `first_audio` and so on.

        audio: [rows, hidden_size], the prompt's where it is left out.
        """
        audio = self.prompt.audio if audio is None else audio
        if start < self.prompt.num_cached:
            raise ValueError("rows that were left out cannot be computed again")
        audio_start = len(self.prompt.before) + self.prompt.cached_rows
        audio_end = audio_start + audio.shape[0]
        if start >= audio_end:
            return np.array(self._after(start - audio_end, end - audio_end), dtype=np.int32), None
        first, last = max(0, start - audio_start), min(end, audio_end) - audio_start
        before = self.prompt.before[start:end] if start < audio_start else []
        if last <= first:
            return np.array(before, dtype=np.int32), None
        heard = np.arange(-1 - first_audio, -1 - first_audio - (last - first), -1, dtype=np.int32)
        after = self._after(0, end - audio_end) if end > audio_end else []
        return np.concatenate([before, heard, after], dtype=np.int32, casting="unsafe"), audio[first:last]

    def _after(self, start: int, end: int) -> list[int]:
        """Tokens behind the audio: of the prompt, of the answer, of the draft."""
        suffix = self.prompt.after
        if end - start == 1 and len(suffix) <= start < len(suffix) + len(self.output_ids):
            # What most steps are: one more token of the answer.
            return [self.output_ids[start - len(suffix)]]
        unknown = [] if self.ahead is None else [AHEAD - self.ahead]
        return [*suffix, *self.output_ids, *unknown, *self.draft][start:end]
