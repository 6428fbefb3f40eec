"""What a session asks of the other models. Sessions know this; who answers is another matter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# A word as its text writes it, its first and its last sample, and how sure that is.
TimedWord = tuple[str, int, int, float]
Floats = NDArray[np.float32]


class RoomFailed(Exception):
    """A model did not answer, or with an error. `invalid`: the request was at fault, so it is no use to ask again."""

    def __init__(self, message: str, *, invalid: bool = False) -> None:
        super().__init__(message)
        self.invalid = invalid


@dataclass(frozen=True)
class Question:
    """What a step asks: encode these blocks and go on from what the decoder keeps.

    mel [N, 128, T], frames [N, 1] and clip_max as the model `encoder` takes them; the rest as `decoder` does.
    """

    mel: Floats
    frames: NDArray[np.int32]
    clip_max: float
    language: str = ""
    context: str = ""
    draft: list[int] = field(default_factory=list)
    session: str = ""
    cached_blocks: int = 0
    keep_blocks: int = 0
    hotwords: str = ""


@dataclass(frozen=True)
class Heard:
    """What the decoder answered. evicted: nothing, because blocks that were left out are no longer kept."""

    text: str
    language: str | None
    token_ids: list[int]
    evicted: bool = False
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Voiced:
    """What the room `speakers` answered: numbers of the turns in a stretch, and first and last sample of each; who
    speaks in the newest turns of all, by number; the state to ask with next."""

    numbers: list[int]
    turns: list[tuple[int, int]]
    speakers: dict[int, int]
    state: bytes


class Rooms(Protocol):
    """The other models. What is awaited has a deadline and raises RoomFailed."""

    async def step(self, question: Question, *, fast: bool) -> Heard: ...

    async def check(self, language: str, context: str, hotwords: str = "") -> None:
        """RoomFailed, invalid, where the decoder knows no such language, the context is too long, or the hotwords are
        wrong."""

    @property
    def can_align(self) -> bool:
        """Whether words can have times."""

    async def align(self, pcm: Floats, text: str, language: str, priority: int) -> list[TimedWord]:
        """The words of a text that is said in float32 samples, all of which are speech. priority: of the request."""

    @property
    def has_voices(self) -> bool:
        """Whether speakers can be told apart."""

    async def voices(self, pcm: Floats, judged: Floats | None, state: bytes, priority: int) -> Voiced:
        """Who speaks in float32 samples. judged: what the detector says of them; state: of the last answer."""

    def end_session(self, name: str, *, fast: bool) -> None:
        """Forget what the decoder keeps for a session. Nobody waits for it: what is not used is forgotten anyway."""
