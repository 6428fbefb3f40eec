"""Sequences that wait, by priority and age: thousands of them cost a step next to nothing."""

from __future__ import annotations

import bisect
from collections.abc import Iterator

from .sequence import Sequence


def _place(sequence: Sequence) -> tuple[int, int]:
    return sequence.priority, sequence.number


class WaitingLine:
    """Kept in order of priority, then of arrival. One thread changes it; others may count."""

    def __init__(self) -> None:
        self._sequences: list[Sequence] = []

    def __len__(self) -> int:
        return len(self._sequences)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(list(self._sequences))

    def __contains__(self, sequence: Sequence) -> bool:
        index = bisect.bisect_left(self._sequences, _place(sequence), key=_place)
        return index < len(self._sequences) and self._sequences[index] is sequence

    def add(self, sequence: Sequence) -> None:
        bisect.insort(self._sequences, sequence, key=_place)

    def remove(self, sequence: Sequence) -> None:
        """Take out a sequence that is here; ValueError where it is not."""
        index = bisect.bisect_left(self._sequences, _place(sequence), key=_place)
        if index == len(self._sequences) or self._sequences[index] is not sequence:
            raise ValueError("the sequence does not wait")
        del self._sequences[index]

    def first(self, count: int) -> list[Sequence]:
        """Those whose turn comes next."""
        return self._sequences[:count]

    def oldest(self, priority: int) -> Sequence | None:
        """Who of this priority came first."""
        index = bisect.bisect_left(self._sequences, (priority, -1), key=_place)
        if index == len(self._sequences) or self._sequences[index].priority != priority:
            return None
        return self._sequences[index]
