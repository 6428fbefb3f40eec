"""How many rows a step may have to end in time, learned from the steps that ran."""

from __future__ import annotations

# Below, a step costs the reading of all weights, however few its rows are.
MIN_ROWS = 16


class StepPace:
    """Seconds for each row of the latest steps, which is as good as a model of them where steps aim at one time.

    Each new bound corrects the last one by what it missed, so the fixed cost of a step is learned with the rest.
    """

    def __init__(self) -> None:
        self._seconds_per_row = 0.0

    def observe(self, rows: int, seconds: float) -> None:
        """Steps of few rows say nothing about many."""
        if rows >= MIN_ROWS:
            latest = seconds / rows
            self._seconds_per_row = (self._seconds_per_row + latest) / 2 if self._seconds_per_row else latest

    def rows_within(self, seconds: float, at_most: int) -> int:
        """Rows of a step that should take this long; `at_most` while nothing is known."""
        if not self._seconds_per_row:
            return at_most
        return max(MIN_ROWS, min(at_most, int(seconds / self._seconds_per_row)))
