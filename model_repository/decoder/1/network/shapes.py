"""The fixed shapes that steps are recorded in: few enough to be recorded at load, and one for every step there can
be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# Rows of one sequence up to which a shape of many rows is launched for short ones: most of a longer launch would find
# nothing to do.
SHORT = 256
# Sequences that a shape for long ones is launched for where there are no more: likewise.
FEW = 8
# Keys of a decoding sequence: over how many blocks they are split follows from how many there may be.
USUAL, ANY = 2_048, 2**31 - 1


@dataclass(frozen=True, order=True)
class Shape:
    """Rows and sequences of a step; most_rows: of one sequence; longest: keys of one. is_decode: one token of each
    sequence, no audio."""

    rows: int
    sequences: int
    most_rows: int
    longest: int
    is_decode: bool


class Shapes:
    """Shapes for every step of up to `max_rows` rows and `max_sequences` sequences."""

    def __init__(self, decode_batches: list[int], max_rows: int, max_sequences: int) -> None:
        """decode_batches: numbers of sequences for steps of one token each; ValueError where there is none."""
        if not decode_batches or min(decode_batches) < 1:
            raise ValueError("decode_batches must name numbers of sequences, such as 1,2,4,8")
        batches = sorted({*(size for size in decode_batches if size < max_sequences), max_sequences})
        self._decode = [Shape(size, size, 1, longest, True) for size in batches for longest in (USUAL, ANY)]
        self._ragged = []
        for rows in _row_counts(max_rows):
            sequences = min(rows, max_sequences)
            kinds = {(sequences, min(rows, SHORT)), (sequences, rows)}
            if rows > SHORT:
                kinds.add((min(FEW, sequences), rows))
            self._ragged += [Shape(rows, count, most, ANY, False) for count, most in sorted(kinds)]

    def __iter__(self) -> Iterator[Shape]:
        """Largest first: what a smaller one needs fits into the memory of a larger one."""
        yield from sorted([*self._decode, *self._ragged], reverse=True)

    def __len__(self) -> int:
        return len(self._decode) + len(self._ragged)

    def fit(self, rows: int, sequences: int, most_rows: int, longest: int, *, has_audio: bool) -> Shape | None:
        """The smallest that holds a step, or None."""
        if most_rows == 1 and not has_audio:
            fitting = (shape for shape in self._decode if shape.sequences >= sequences and shape.longest >= longest)
        else:
            fitting = (
                shape
                for shape in self._ragged
                if shape.rows >= rows and shape.sequences >= sequences and shape.most_rows >= most_rows
            )
        # Rows cost more than launches that find nothing.
        return min(
            fitting, key=lambda shape: (shape.rows, shape.sequences * shape.most_rows, shape.longest), default=None
        )


def _row_counts(most: int) -> list[int]:
    """1, 2, 4 … 64, then two between each doubling: a step is filled up by a third at most."""
    counts, size = [], 1
    while size < most:
        counts.append(size)
        if size >= SHORT // 4 and size + size // 2 < most:
            counts.append(size + size // 2)
        size *= 2
    return [*counts, most]
