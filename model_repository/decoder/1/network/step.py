"""A step as the host plans it: numbers only, in arrays that become one copy to the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int32]
# Of a row that is chosen: the row of the step, how it is drawn, and where its token is told.
JUDGED_FIELDS = 7
# Ids from here down: AHEAD - i is the token that was chosen for the judged row i of the step before, which the host
# does not know yet.
AHEAD = -(1 << 30)


class Kind(Enum):
    """How a token is chosen: the likeliest; the likeliest that does not end the answer; drawn at a temperature; in any
    of these ways, and others' log-probabilities are told."""

    PLAIN = "plain"
    BANNED = "banned"
    DRAWN = "drawn"
    WATCHED = "watched"


@dataclass(frozen=True)
class Choice:
    """How the token after a row is chosen (see `Draws`); the default is the likeliest token, whichever it is. watched:
    tokens whose log-probabilities are told beside it."""

    temperature: float = 0.0
    seed: int = 0
    number: int = 0
    banned: bool = False
    watched: NDArray[np.int64] | None = field(default=None, compare=False)

    @cached_property
    def kind(self) -> Kind:
        if self.watched is not None and self.watched.size:
            return Kind.WATCHED
        return Kind.DRAWN if self.temperature else Kind.BANNED if self.banned else Kind.PLAIN


PLAIN = Choice()


@dataclass
class Step:
    """Rows of many sequences, one sequence after the other.

    ids: a token's id; -1 - i for row i of the audio; AHEAD - i, where `is_ahead`.
    """

    ids: list[Ints] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    kv_starts: list[int] = field(default_factory=list)
    audio: list[Tensor] = field(default_factory=list)
    judged: list[int] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    num_rows: int = 0
    num_audio: int = 0
    is_ahead: bool = False

    def add(self, ids: Ints, position: int, kv_start: int, audio: Tensor | None = None) -> None:
        """The next tokens of a sequence, the first of them at `position`; kv_start: where it begins in the KV cache.

        audio: [N, hidden_size] on the host, whose rows `ids` calls by -1 - `num_audio` as it is now, and so on.
        """
        self.ids.append(ids)
        self.positions.append(position)
        self.lengths.append(ids.size)
        self.kv_starts.append(kv_start)
        self.num_rows += ids.size
        if audio is not None:
            self.audio.append(audio)
            self.num_audio += audio.shape[0]

    def judge(self, row: int, choice: Choice = PLAIN) -> None:
        """Choose the token after this row."""
        self.judged.append(row)
        self.choices.append(choice)

    @property
    def num_sequences(self) -> int:
        return len(self.lengths)

    @property
    def most_rows(self) -> int:
        """Of one sequence."""
        return max(self.lengths)

    @property
    def longest(self) -> int:
        """Keys of one sequence, those of this step among them."""
        return max(p + n for p, n in zip(self.positions, self.lengths, strict=True))

    def pack(self, out: Ints, rows: int, sequences: int, spare_slot: int) -> None:
        """Fill `out` [packed_size(rows, sequences)] with the layout in a shape of so many rows and sequences.

        Rows that only fill the shape up write to `spare_slot`. Where every sequence has one row, sequences that fill up
        have one as well; otherwise they have none.
        """
        count, num_rows = self.num_sequences, self.num_rows
        if rows == num_rows == sequences == count:
            # One row each and nothing to fill up, as most steps are on a CPU: as one list it is done sooner.
            slots = [start + position for start, position in zip(self.kv_starts, self.positions, strict=True)]
            starts, lengths = [*range(count + 1), *self.kv_starts, spare_slot], [one + 1 for one in self.positions]
            out[:] = [*(one.item() for one in self.ids), *self.positions, *slots, *starts, *lengths]
            return
        parts = split(out, rows, sequences)
        lengths, positions, kv_starts = np.array([self.lengths, self.positions, self.kv_starts], dtype=np.int32)
        np.concatenate(self.ids, out=parts.ids[:num_rows])
        np.cumsum(lengths, out=parts.row_starts[1 : count + 1])
        parts.row_starts[0] = 0
        if num_rows == count:
            parts.positions[:count], parts.slots[:count] = positions, kv_starts + positions
        else:
            own = np.arange(num_rows, dtype=np.int32) - np.repeat(parts.row_starts[:count], lengths)
            parts.positions[:num_rows] = own + np.repeat(positions, lengths)
            parts.slots[:num_rows] = parts.positions[:num_rows] + np.repeat(kv_starts, lengths)
        parts.kv_starts[:count], parts.kv_lengths[:count] = kv_starts, positions + lengths
        parts.ids[num_rows:] = parts.positions[num_rows:] = 0
        parts.slots[num_rows:] = spare_slot
        one_each = self.most_rows == 1 and rows == sequences
        spare = np.arange(count + 1, sequences + 1, dtype=np.int32) if one_each else num_rows
        parts.row_starts[count + 1 :] = spare
        parts.kv_starts[count:], parts.kv_lengths[count:] = spare_slot, 1

    def judged_chunks(self, sizes: dict[Kind, int]) -> Iterator[tuple[Kind, Ints]]:
        """The rows whose tokens are chosen, by how they are, so many of a kind at a time: int32 [JUDGED_FIELDS,
        count]."""
        by_kind: dict[Kind, list[int]] = {}
        for place, choice in enumerate(self.choices):
            by_kind.setdefault(choice.kind, []).append(place)
        for kind, places in by_kind.items():
            size = sizes[kind]
            for first in range(0, len(places), size):
                some = places[first : first + size]
                choices = [self.choices[place] for place in some]
                out = np.zeros((JUDGED_FIELDS, len(some)), dtype=np.int32)
                out[0] = [self.judged[place] for place in some]
                if kind is not Kind.PLAIN:
                    out[1] = np.array([c.temperature for c in choices], dtype=np.float32).view(np.int32)
                    seeds = np.array([c.seed for c in choices], dtype=np.int64)
                    out[2:4] = seeds.view(np.int32).reshape(-1, 2).T
                    out[4] = [c.number for c in choices]
                    out[5] = [c.banned for c in choices]
                out[6] = some
                yield kind, out


@dataclass(frozen=True)
class Parts:
    """Views of a packed layout, arrays on the host or tensors on the device."""

    ids: Any
    positions: Any
    slots: Any
    row_starts: Any
    kv_starts: Any
    kv_lengths: Any


def packed_size(rows: int, sequences: int) -> int:
    return 3 * rows + 2 * (sequences + 1) + sequences


def split(packed: Any, rows: int, sequences: int) -> Parts:
    """The parts of a packed layout; works on arrays and on tensors."""
    starts = 3 * rows
    ends = starts + 2 * (sequences + 1)
    return Parts(
        packed[:rows],
        packed[rows : 2 * rows],
        packed[2 * rows : starts],
        packed[starts : starts + sequences + 1],
        packed[starts + sequences + 1 : ends],
        packed[ends : ends + sequences],
    )
