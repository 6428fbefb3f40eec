"""The blocks of one request on their way through the encoder, a few at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CHUNK_FRAMES = 100
CHUNK_TOKENS = 13
BLOCK_FRAMES = 800


class Encoding:
    """`embeddings` float32 [N, 13 T / 100, D] once `is_done`; rows past a block's valid frames are zero."""

    def __init__(
        self, mel: NDArray[np.float32], frames: NDArray[np.int32], clip_max: NDArray[np.float32], length_step: int = 200
    ) -> None:
        """mel float32 [N, 128, T], frames int32 [N, 1], clip_max float32 [N, 1].

        length_step: blocks run at multiples of so many frames, 100 or a multiple of it that divides 800; coarse where
        it pays that many run together.
        Raises ValueError where T is not a multiple of 100 up to 800, or frames lie outside of 0 and T.
        """
        self._length = length = mel.shape[2]
        if length == 0 or length > BLOCK_FRAMES or length % CHUNK_FRAMES:
            raise ValueError(f"MEL has {length} frames; a multiple of {CHUNK_FRAMES} up to {BLOCK_FRAMES} is needed")
        if (frames < 0).any() or (frames > length).any():
            raise ValueError(f"FRAMES must lie within 0 and {length}")
        self._mel, self._frames, self._clip_max = mel, frames, clip_max
        # A block's last chunks without a valid frame change nothing: blocks run as long as they need, with their like.
        self._needed = np.clip(-(-frames[:, 0] // length_step) * length_step, min(length_step, length), length)
        self._pending = np.argsort(-self._needed, kind="stable")
        self._embeddings: NDArray[np.float32] | None = None

    def is_finite(self) -> bool:
        return bool(np.isfinite(self._mel).all() and np.isfinite(self._clip_max).all())

    @property
    def is_done(self) -> bool:
        return not self._pending.size

    @property
    def embeddings(self) -> NDArray[np.float32]:
        assert self._embeddings is not None
        return self._embeddings

    @property
    def next_length(self) -> int:
        """Frames at which the next blocks are to be run."""
        return int(self._needed[self._pending[0]])

    @property
    def num_next(self) -> int:
        """How many blocks are left of that length."""
        return int(np.count_nonzero(self._needed[self._pending] == self.next_length))

    def next(self, most: int) -> NDArray[np.intp]:
        """The numbers of the next blocks, `most` of them at the most, all of one length."""
        return self._pending[: min(most, self.num_next)]

    def feeds(self, indices: NDArray[np.intp], length: int) -> dict[str, NDArray[np.generic]]:
        """What the graph takes of these blocks, cut to `length` frames."""
        return {
            "MEL": self._mel[indices, :, :length],
            "FRAMES": self._frames[indices],
            "CLIP_MAX": self._clip_max[indices],
        }

    def put(self, indices: NDArray[np.intp], rows: NDArray[np.float32]) -> None:
        """rows float32 [n, rows, D]: of the blocks that `next` gave, which are done then."""
        if self._embeddings is None:
            shape = (self._mel.shape[0], self._length // CHUNK_FRAMES * CHUNK_TOKENS, rows.shape[2])
            self._embeddings = np.zeros(shape, dtype=np.float32)
        self._embeddings[indices, : rows.shape[1]] = rows
        self._pending = self._pending[indices.size :]
