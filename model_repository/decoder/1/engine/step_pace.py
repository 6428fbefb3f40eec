"""How many rows a step may have to end in time, learned from the steps that ran."""

from __future__ import annotations

# A step may have so many whatever they take, or a slow machine would never end a prompt.
MIN_ROWS = 16
# What each older step counts for beside the next one.
FADING = 0.95
# Steps whose rows differ by less than this share of their mean tell nothing of what a row costs by itself.
LEAST_SPREAD = 0.2
# Of the time, for rows, where a step without any takes longer than that.
LEAST_SHARE = 0.25


class StepPace:
    """A step takes a fixed time, which on a GPU is most of it (the reading of all weights, the launches), and some more
    for each row: the line of least squares through the latest steps."""

    def __init__(self) -> None:
        self._weight = self._rows = self._seconds = self._rows_rows = self._rows_seconds = 0.0

    def observe(self, rows: int, seconds: float) -> None:
        """A step of so many rows has run."""
        if rows <= 0:
            return
        self._weight = FADING * self._weight + 1.0
        self._rows = FADING * self._rows + rows
        self._seconds = FADING * self._seconds + seconds
        self._rows_rows = FADING * self._rows_rows + rows * rows
        self._rows_seconds = FADING * self._rows_seconds + rows * seconds

    def line(self) -> tuple[float, float]:
        """Seconds of a step without rows, and of each row; neither is negative. Zeros while nothing is known."""
        if not self._weight:
            return 0.0, 0.0
        rows, seconds = self._rows / self._weight, self._seconds / self._weight
        variance = self._rows_rows / self._weight - rows * rows
        if variance < (LEAST_SPREAD * rows) ** 2:
            # All of one size: then it is as good to say that rows cost everything, as steps aim at one time.
            return 0.0, seconds / rows
        slope = (self._rows_seconds / self._weight - rows * seconds) / variance
        slope = min(max(slope, 0.0), seconds / rows)
        return seconds - slope * rows, slope

    def rows_within(self, seconds: float, at_most: int) -> int:
        """Rows of a step that should take this long; `at_most` while nothing is known."""
        fixed, each = self.line()
        if not each:
            return at_most
        left = max(seconds - fixed, LEAST_SHARE * seconds)
        return max(MIN_ROWS, min(at_most, int(left / each)))
