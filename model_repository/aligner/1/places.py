"""From times in joined spans of speech to samples of the clip that they were cut from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def in_clip(starts: Ints, ends: Ints, speech: NDArray[np.int32] | None, num_samples: int) -> NDArray[np.int32]:
    """starts, ends [W]: samples of the joined spans. speech [S, 2]: the spans, in samples of the clip, or None where
    the clip is one. num_samples: of the joined spans. Returns [W, 2].

    At a seam a word begins with the span behind it and ends with the one before it.
    """
    starts, ends = np.clip(starts, 0, num_samples), np.clip(ends, 0, num_samples)
    if speech is None or not len(speech):
        return np.stack([starts, ends], axis=1).astype(np.int32)
    lengths = (speech[:, 1] - speech[:, 0]).astype(np.int64)
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    last = len(lengths) - 1
    begins_in = np.clip(np.searchsorted(first, starts, side="right") - 1, 0, last)
    # A word of no length lies in one span.
    ends_in = np.maximum(np.clip(np.searchsorted(first, ends, side="left") - 1, 0, last), begins_in)
    begin = speech[begins_in, 0] + np.minimum(starts - first[begins_in], lengths[begins_in])
    end = speech[ends_in, 0] + np.clip(ends - first[ends_in], 0, lengths[ends_in])
    return np.stack([begin, np.maximum(end, begin)], axis=1).astype(np.int32)
