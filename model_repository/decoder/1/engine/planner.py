"""From the chunks of a step to its rows, and whose tokens come of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from ..network.picking import Flight
from ..network.step import AHEAD, Step
from .scheduler import Chunk
from .sequence import Sequence


@dataclass(frozen=True)
class Part:
    """Whose tokens the judged rows `first` to `first + count` of a step choose."""

    sequence: Sequence
    first: int
    count: int


@dataclass(frozen=True)
class Launched:
    """A step on its way."""

    flight: Flight
    parts: list[Part]
    num_rows: int
    started: float

    @property
    def is_foreseeable(self) -> bool:
        """Whether each sequence adds at most one token by it, which the device knows, so that the next step can be
        planned before the host does."""
        return all(part.count <= 1 and not part.sequence.draft and part.sequence.biasing is None for part in self.parts)


def plan(chunks: Iterable[Chunk]) -> tuple[Step, list[Part]]:
    """Take the chunks' tokens as computed; returns the step, and a part for every chunk, of no rows where its prompt
    goes on in a later step."""
    step, parts = Step(), []
    for chunk in chunks:
        sequence, start = chunk.sequence, chunk.sequence.num_computed
        add_rows(step, sequence, start, chunk.length)
        # The last known token's row chooses the next one, and each draft token's row the one after it.
        count = max(0, start + chunk.length - sequence.num_tokens + 1)
        parts.append(Part(sequence, len(step.judged), count))
        for index, choice in enumerate(sequence.choices(count)):
            step.judge(step.num_rows - count + index, choice)
        sequence.num_computed += min(chunk.length, sequence.num_pending)
    return step, parts


def add_rows(step: Step, sequence: Sequence, start: int, length: int, audio: torch.Tensor | None = None) -> None:
    """Rows of positions `start` to `start + length`, the draft's after the last token. audio: another network's
    embeddings of the same audio, in place of the prompt's."""
    assert sequence.extent is not None
    ids, heard = sequence.ids(start, start + length, step.num_audio, audio)
    step.is_ahead |= sequence.ahead is not None and bool(ids[-1] <= AHEAD)
    step.add(ids, start, sequence.extent.start, heard)
