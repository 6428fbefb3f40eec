"""Voice activity of a stream: samples that are not judged yet, and what the detector carries between calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial

import numpy as np

from .endpointing import WINDOW
from .retrying import retried
from .rooms import Floats, Rooms
from .settings import SAMPLE_RATE_HZ

# Voice activity is asked for this many windows at a time (192 ms): each call has its price.
VAD_WINDOWS = 6
# More is judged in several calls, so that nothing else waits long.
MAX_VAD_SAMPLES = 16 * SAMPLE_RATE_HZ
VAD_STATE = 320


class Listening:
    def __init__(self, rooms: Rooms, retry_s: float, name: str, unheard: int = 0) -> None:
        """retry_s: how long a call is tried again while it fails. name: of the session, for the log. unheard: so many
        of the first samples are not to be judged."""
        self._rooms = rooms
        self._retry_s = retry_s
        self._name = name
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

    async def probabilities(self) -> AsyncGenerator[float, None]:
        """Of speech, for each window of what was not judged yet. Raises RoomFailed where the detector stays away."""
        pcm = np.concatenate(self._unjudged) if self._unjudged else np.empty(0, dtype=np.float32)
        self._unjudged, self._num_unjudged = [], 0
        for start in range(0, pcm.size, MAX_VAD_SAMPLES):
            part = pcm[start : start + MAX_VAD_SAMPLES]
            judged, self._state = await retried(partial(self._rooms.vad, part, self._state), self._retry_s, self._name)
            for probability in judged.tolist():
                yield probability
