"""The audio that a language model reads: valid embeddings of a clip's blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK_FRAMES = 100
CHUNK_TOKENS = 13


@dataclass(frozen=True)
class AudioEmbeddings:
    """rows: float32 [tokens, D], the valid embeddings of all blocks in order; frames: mel frames of each, 10 ms."""

    rows: NDArray[np.float32]
    frames: list[int]

    @property
    def num_rows(self) -> int:
        return self.rows.shape[0]

    def usage(self) -> dict[str, Any]:
        return {"audio_tokens": self.num_rows, "speech_seconds": round(sum(self.frames) / 100, 2)}


def num_tokens(frames: int) -> int:
    """Embeddings of `frames` mel frames: 13 for each full chunk of 100, and ceil(rest / 8) for the rest."""
    return frames // CHUNK_FRAMES * CHUNK_TOKENS + -(-(frames % CHUNK_FRAMES) // 8)


def checked_audio(embeddings: NDArray[np.float32], frames: NDArray[np.int32], hidden_size: int) -> AudioEmbeddings:
    """Join the valid rows of all blocks.

    embeddings: [N, rows, D]; frames: [N, 1]. Raises ValueError where they do not fit each other or the network.
    """
    num_blocks, rows, width = embeddings.shape
    if frames.shape[0] != num_blocks or num_blocks == 0:
        raise ValueError(f"EMBEDDINGS has {num_blocks} blocks, FRAMES {frames.shape[0]}")
    counts = [int(count) for count in frames[:, 0]]
    valid = [num_tokens(count) for count in counts]
    if min(counts) < 0 or max(valid) > rows:
        raise ValueError(f"FRAMES must lie within 0 and what {rows} embeddings hold")
    if sum(valid) and width != hidden_size:
        raise ValueError(f"EMBEDDINGS has width {width}; this network takes {hidden_size}")
    joined = np.concatenate([block[:count] for block, count in zip(embeddings, valid, strict=True)])
    if not np.isfinite(joined).all():
        raise ValueError("EMBEDDINGS holds NaN or infinity")
    return AudioEmbeddings(joined, counts)
