"""Samples of a session by their number since its beginning; what is no longer needed is dropped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class PcmBuffer:
    """float32 samples `start` to `end` of the session, in one array that is moved now and then."""

    def __init__(self) -> None:
        self._data = np.empty(16_000, dtype=np.float32)
        self._offset = 0
        self.start = 0
        self.end = 0

    def append(self, pcm: NDArray[np.float32]) -> None:
        used = self._offset + self.end - self.start
        if used + pcm.size > self._data.size:
            kept = self._data[self._offset : used]
            self._data = np.empty(max(16_000, 2 * (kept.size + pcm.size)), dtype=np.float32)
            self._data[: kept.size] = kept
            self._offset, used = 0, kept.size
        self._data[used : used + pcm.size] = pcm
        self.end += pcm.size

    def read(self, start: int, end: int) -> NDArray[np.float32]:
        """A view of samples that are still there; ValueError where they are not."""
        if not self.start <= start <= end <= self.end:
            raise ValueError(f"samples {start} to {end} are not within {self.start} and {self.end}")
        first = self._offset + start - self.start
        return self._data[first : first + end - start]

    def drop_before(self, sample: int) -> None:
        """Forget what lies before `sample`."""
        sample = min(max(sample, self.start), self.end)
        self._offset += sample - self.start
        self.start = sample
