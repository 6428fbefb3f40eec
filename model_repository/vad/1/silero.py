"""Silero VAD over whole clips and over streams, by the same code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray

WINDOW = 512
CONTEXT = 64
HIDDEN = 128
# A run's memory grows with its windows, 18 kB each, and stays with the process: an hour's clip must not take it all.
# Its time does too, 17 us each on one core, and others wait meanwhile.
WINDOWS_PER_RUN = 256
# Everything a stream carries over: hidden and cell state, the last samples heard, then samples not yet judged.
STATE_HEAD = 2 * HIDDEN + CONTEXT
# Probabilities float32 [windows], and the state float32 [320 + pending] to go on from.
Judged: TypeAlias = "tuple[NDArray[np.float32], NDArray[np.float32]]"


def initial_state() -> NDArray[np.float32]:
    """The state that begins a clip or a stream: float32 [320] zeros."""
    return np.zeros(STATE_HEAD, dtype=np.float32)


class Silero:
    """The network; it keeps no state of its own, callers carry theirs."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        # The recurrence is sequential: more threads only spin.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def probabilities(
        self, pcm: NDArray[np.float32], state: NDArray[np.float32], *, whole: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Speech probability of each 512 samples.

        pcm: float32 [samples], 16 kHz, the next part of a stream.
        state: float32 [320 + pending], what the previous call returned, or `initial_state()`.
        whole: judge the last window too, padded with zeros, where it is not full.
        Returns float32 [windows] and the new state; samples of an unfinished window wait in the state.
        """
        *_, judged = self.judge(pcm, state, whole=whole)
        assert judged is not None
        return judged

    def judge(self, pcm: NDArray[np.float32], state: NDArray[np.float32], *, whole: bool) -> Iterator[Judged | None]:
        """`probabilities` in short runs: None after each but the last, then what that returns."""
        hidden, cell = state[:HIDDEN], state[HIDDEN : 2 * HIDDEN]
        heard = np.concatenate([state[2 * HIDDEN :], pcm])
        num_new = heard.size - CONTEXT
        num_windows = -(-num_new // WINDOW) if whole else num_new // WINDOW
        if num_windows == 0:
            yield np.empty(0, dtype=np.float32), np.concatenate([hidden, cell, heard])
            return
        used = CONTEXT + num_windows * WINDOW
        if used > heard.size:
            heard = np.pad(heard, (0, used - heard.size))
        windows = np.lib.stride_tricks.sliding_window_view(heard[:used], CONTEXT + WINDOW)[::WINDOW]
        hidden, cell = hidden.reshape(1, 1, HIDDEN), cell.reshape(1, 1, HIDDEN)
        parts: list[NDArray[np.float32]] = []
        for start in range(0, num_windows, WINDOWS_PER_RUN):
            if parts:
                yield None
            part = np.ascontiguousarray(windows[start : start + WINDOWS_PER_RUN])
            probabilities, hidden, cell = self._session.run(None, {"input": part, "h": hidden, "c": cell})
            parts.append(probabilities)
        carried = np.concatenate([hidden.ravel(), cell.ravel(), heard[used - CONTEXT :]])
        yield np.concatenate(parts).astype(np.float32), carried.astype(np.float32)
