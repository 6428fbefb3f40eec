"""The exported block encoder on ONNX Runtime."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .providers import open_session

CHUNK_FRAMES = 100
CHUNK_TOKENS = 13
BLOCK_FRAMES = 800
# Lengths that blocks run at: coarse enough that many run together.
LENGTH_STEP = 200
WEIGHTS_PER_THREAD = 10_000_000


def useful_threads(num_weights: int) -> int:
    """Threads that a network of this size can use: a small one's matrices are done before a second thread has begun,
    and the cores are wanted by other models."""
    return max(1, min(os.cpu_count() or 1, num_weights // WEIGHTS_PER_THREAD))


def _size(path: Path) -> int:
    """Bytes of a model; weights beyond protobuf's 2 GB are in a file beside it."""
    data = path.with_name(path.name + ".data")
    return path.stat().st_size + (data.stat().st_size if data.exists() else 0)


class BlockEncoderEngine:
    """Runs `model.onnx` over batches of blocks of one length."""

    def __init__(
        self,
        path: Path,
        intra_op_num_threads: int,
        max_blocks_per_run: int,
        *,
        provider: str = "cpu",
        device: int = 0,
        engine_cache: str = "",
        entries: dict[str, str] | None = None,
    ) -> None:
        """provider, device, engine_cache: see `open_session`, whose errors are raised. entries: more of ONNX Runtime's
        session options."""
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: make it with `python -m export all CHECKPOINT`")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = intra_op_num_threads or useful_threads(_size(path) // 4)
        # Idle threads that spin take the cores of the decoder.
        for name, value in {"session.intra_op.allow_spinning": "0", **(entries or {})}.items():
            options.add_session_config_entry(name, value)
        self._session = open_session(path, options, provider, device, engine_cache, max_blocks_per_run)
        self._max_blocks_per_run = max_blocks_per_run

    def encode(
        self, mel: NDArray[np.float32], frames: NDArray[np.int32], clip_max: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """mel float32 [N, 128, T], frames int32 [N, 1], clip_max float32 [N, 1] -> float32 [N, 13 T / 100, D].

        Raises ValueError where T is not a multiple of 100 up to 800, or frames lie outside of 0 and T.
        """
        length = mel.shape[2]
        if length == 0 or length > BLOCK_FRAMES or length % CHUNK_FRAMES:
            raise ValueError(f"MEL has {length} frames; a multiple of {CHUNK_FRAMES} up to {BLOCK_FRAMES} is needed")
        if (frames < 0).any() or (frames > length).any():
            raise ValueError(f"FRAMES must lie within 0 and {length}")
        # A block's last chunks without a valid frame change nothing: blocks run as long as they need, with their like.
        lengths = np.clip(-(-frames[:, 0] // LENGTH_STEP) * LENGTH_STEP, LENGTH_STEP, length)
        embeddings: NDArray[np.float32] | None = None
        for needed in np.unique(lengths):
            chosen = np.flatnonzero(lengths == needed)
            for start in range(0, chosen.size, self._max_blocks_per_run):
                part = chosen[start : start + self._max_blocks_per_run]
                feeds = {"MEL": mel[part, :, :needed], "FRAMES": frames[part], "CLIP_MAX": clip_max[part]}
                rows = self._session.run(["EMBEDDINGS"], feeds)[0]
                if embeddings is None:
                    shape = (mel.shape[0], length // CHUNK_FRAMES * CHUNK_TOKENS, rows.shape[2])
                    embeddings = np.zeros(shape, dtype=np.float32)
                embeddings[part, : rows.shape[1]] = rows
        assert embeddings is not None
        return embeddings
