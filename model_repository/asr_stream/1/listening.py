"""Voice activity of a stream: samples that are not judged yet, and what the detector carries between calls."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from .endpointing import WINDOW
from .rooms import Floats
from .settings import SAMPLE_RATE_HZ

# Voice activity is asked for this many windows at a time (96 ms): each call has its price.
VAD_WINDOWS = 3
# Of everything that came at once so much is judged before the other sessions have their turn: some 1 ms.
MAX_VAD_SAMPLES = 2 * SAMPLE_RATE_HZ
VAD_STATE = 320


class Detector(Protocol):
    """`Silero`, which is given all that it carries over."""

    def probabilities(self, pcm: Floats, state: Floats, *, whole: bool) -> tuple[Floats, Floats]: ...


class Listening:
    def __init__(self, detector: Detector, unheard: int = 0) -> None:
        """unheard: so many of the first samples are not to be judged."""
        self._detector = detector
        self._num_unheard = unheard
        self.begin_anew()

    def begin_anew(self, *parts: Floats) -> None:
        """Drop what is not judged, and hear these samples and what follows as if nothing had been before."""
        self._unjudged: list[Floats] = list(parts)
        self._num_unjudged = sum(part.size for part in parts)
        self._state: Floats = np.zeros(VAD_STATE, dtype=np.float32)

    def add(self, parts: list[Floats]) -> bool:
        """Take samples; true where so many wait that a call is worth its price."""
        for part in parts:
            skipped = min(self._num_unheard, part.size)
            self._num_unheard -= skipped
            self._unjudged.append(part[skipped:])
            self._num_unjudged += part.size - skipped
        return self._num_unjudged >= VAD_WINDOWS * WINDOW

    def probabilities(self) -> list[float]:
        """Of speech, for each window of what was not judged yet."""
        pcm = np.concatenate(self._unjudged) if self._unjudged else np.empty(0, dtype=np.float32)
        self._unjudged, self._num_unjudged = [], 0
        judged, self._state = self._detector.probabilities(pcm, self._state, whole=False)
        heard: list[float] = judged.tolist()
        return heard
