"""From probabilities to spans of speech: pure functions over numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .parameters import Parameters

SAMPLES_PER_MS = 16
WINDOW = 512
# Silero's hysteresis: speech goes on until the probability falls this far below the threshold.
HYSTERESIS = 0.15


def speech_spans(probabilities: NDArray[np.float32], num_samples: int, rules: Parameters) -> NDArray[np.int32]:
    """Spans of speech in samples: int32 [S, 2], in order, not overlapping, within 0 and `num_samples`.

    probabilities: float32 [windows], one per 512 samples. Spans shorter than min_speech_ms are dropped, pauses shorter
    than min_silence_ms joined, what is left padded by speech_pad_ms (half of the pause where two spans would meet).
    """
    spans = _joined(_runs(probabilities, rules.threshold), rules.min_silence_ms * SAMPLES_PER_MS)
    kept = [span for span in spans if span[1] - span[0] >= rules.min_speech_ms * SAMPLES_PER_MS]
    return _padded(kept, rules.speech_pad_ms * SAMPLES_PER_MS, num_samples)


def _runs(probabilities: NDArray[np.float32], threshold: float) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    start = -1
    for index, probability in enumerate(probabilities.tolist()):
        if start < 0 and probability >= threshold:
            start = index
        elif start >= 0 and probability < threshold - HYSTERESIS:
            runs.append((start * WINDOW, index * WINDOW))
            start = -1
    if start >= 0:
        runs.append((start * WINDOW, len(probabilities) * WINDOW))
    return runs


def _joined(runs: list[tuple[int, int]], min_silence: int) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in runs:
        if joined and start - joined[-1][1] < min_silence:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _padded(spans: list[tuple[int, int]], pad: int, num_samples: int) -> NDArray[np.int32]:
    padded = np.array(spans, dtype=np.int32).reshape(-1, 2)
    if padded.size == 0:
        return padded
    pauses = padded[1:, 0] - padded[:-1, 1]
    before = np.concatenate([[pad], np.minimum(pad, pauses - pauses // 2)])
    after = np.concatenate([np.minimum(pad, pauses // 2), [pad]])
    padded[:, 0] -= before.astype(np.int32)
    padded[:, 1] += after.astype(np.int32)
    return np.clip(padded, 0, num_samples)
