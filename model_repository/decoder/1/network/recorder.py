"""CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Recorder:
    """Makes CUDA graphs that share one pool of memory, as they never run at the same time, and one stream beside the
    usual one, as every stream keeps memory of its own for products."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()
        self._pool: Any = None

    def record(self, run: Callable[[], object]) -> Any:
        """A graph of what `run` does."""
        # What is chosen and allocated at the first run may not happen during the recording.
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream), torch.inference_mode():
            run()
        torch.cuda.current_stream().wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        recording = torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local")
        # Other threads of the process may go on meanwhile.
        with torch.inference_mode(), recording:
            run()
        self._pool = self._pool or graph.pool()
        return graph
