"""The exported block encoder on ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .encoding import Encoding
from .providers import open_session

WEIGHTS_PER_THREAD = 10_000_000
# Of one run on a CPU: more are no faster there, and from about eight on, what the convolutions hold leaves the caches.
CPU_BLOCKS_PER_RUN = 4


def useful_threads(num_weights: int) -> int:
    """Threads that a network of this size can use: a small one's matrices are done before a second thread has begun,
    and the cores are wanted by other models."""
    return max(1, min(os.cpu_count() or 1, num_weights // WEIGHTS_PER_THREAD))


def _size(path: Path) -> int:
    """Bytes of a model; weights beyond protobuf's 2 GB are in a file beside it."""
    data = path.with_name(path.name + ".data")
    return path.stat().st_size + (data.stat().st_size if data.exists() else 0)


class BlockEncoderEngine:
    """Runs `model.onnx` over batches of blocks of one length; several threads may ask at once."""

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
        self.num_threads = options.intra_op_num_threads = intra_op_num_threads or useful_threads(_size(path) // 4)
        # Idle threads that spin take the cores of the decoder.
        for name, value in {"session.intra_op.allow_spinning": "0", **(entries or {})}.items():
            options.add_session_config_entry(name, value)
        self._session = open_session(path, options, provider, device, engine_cache, max_blocks_per_run)
        self.max_blocks_per_run = (
            min(max_blocks_per_run, CPU_BLOCKS_PER_RUN) if provider == "cpu" else max_blocks_per_run
        )

    def encode(
        self, mel: NDArray[np.float32], frames: NDArray[np.int32], clip_max: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """mel float32 [N, 128, T], frames int32 [N, 1], clip_max float32 [N, 1] -> float32 [N, 13 T / 100, D].

        Raises ValueError as `Encoding`.
        """
        encoding = Encoding(mel, frames, clip_max)
        while not encoding.is_done:
            self.advance([encoding])
        return encoding.embeddings

    def sharing(self, waiting: Sequence[Encoding]) -> int:
        """How many of the first ones would have blocks in the next run, were they the only ones; at least 1."""
        length, free = waiting[0].next_length, self.max_blocks_per_run
        for count, encoding in enumerate(waiting):
            if free <= 0 or encoding.next_length != length:
                return max(1, count)
            free -= encoding.num_next
        return len(waiting)

    def advance(self, encodings: Sequence[Encoding]) -> None:
        """One run over the next blocks of these, which all have the first one's length, in their order as far as there
        is room. Where it raises, nothing has changed."""
        length, free = encodings[0].next_length, self.max_blocks_per_run
        taken = []
        for encoding in encodings:
            indices = encoding.next(free)
            free -= indices.size
            taken.append((encoding, indices))
        feeds = [encoding.feeds(indices, length) for encoding, indices in taken]
        joined = feeds[0] if len(feeds) == 1 else {key: np.concatenate([one[key] for one in feeds]) for key in feeds[0]}
        rows = self._session.run(["EMBEDDINGS"], joined)[0]
        start = 0
        for encoding, indices in taken:
            encoding.put(indices, rows[start : start + indices.size])
            start += indices.size
