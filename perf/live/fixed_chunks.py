"""The windows of a baseline: servers that transcribe fixed chunks of 450 ms with 150 ms of the one before, each by
itself, and join what they hear."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.float32]
CHUNK, OVERLAP = 7_200, 2_400


def windows(pcm: Pcm) -> list[Pcm]:
    """What the design transcribes of a stream."""
    return [pcm[max(0, start - OVERLAP) : start + CHUNK] for start in range(0, pcm.size, CHUNK)]
