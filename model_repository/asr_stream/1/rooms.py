"""What a session asks of the other models. Sessions know this; who answers is another matter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class RoomFailed(Exception):
    """A model did not answer, or with an error. `invalid`: the request was at fault, so it is no use to ask again."""

    def __init__(self, message: str, *, invalid: bool = False) -> None:
        super().__init__(message)
        self.invalid = invalid


@dataclass(frozen=True)
class Question:
    """What the decoder is asked. Sizes as in the model `decoder`: embeddings [N, rows, D], frames [N, 1]."""

    embeddings: Floats
    frames: NDArray[np.int32]
    language: str = ""
    context: str = ""
    draft: list[int] = field(default_factory=list)
    session: str = ""
    cached_blocks: int = 0
    keep_blocks: int = 0


@dataclass(frozen=True)
class Heard:
    """What the decoder answered. evicted: nothing, because blocks that were left out are no longer kept."""

    text: str
    language: str | None
    token_ids: list[int]
    evicted: bool = False
    result: dict[str, Any] = field(default_factory=dict)


class Rooms(Protocol):
    """The other models. Every call has a deadline and raises RoomFailed."""

    async def vad(self, pcm: Floats, state: Floats) -> tuple[Floats, Floats]:
        """Probabilities of the windows that are full now, and the new state."""

    async def features(self, pcm: Floats, left_context: int) -> tuple[Floats, NDArray[np.int32]]:
        """mel [N, 128, 800] and frames [N, 1] of samples after `left_context` of them."""

    async def encode(self, mel: Floats, frames: NDArray[np.int32], clip_max: Floats, *, fast: bool) -> Floats:
        """Embeddings [N, rows, D] of blocks."""

    async def decode(self, question: Question, *, fast: bool) -> Heard: ...

    async def check(self, language: str, context: str) -> None:
        """RoomFailed, invalid, where the decoder knows no such language or the context is too long."""

    async def end_session(self, name: str, *, fast: bool) -> None:
        """Forget what the decoder keeps for a session."""
