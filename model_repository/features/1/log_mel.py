"""Whisper's log-mel power, before its clamp: NumPy and SciPy only, so that the room stays light.

The clamp and the scaling of Whisper's features need the maximum of the whole clip; they live in the encoder's graph,
which is given that maximum. What is computed here depends on nothing but the samples under each STFT window.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import scipy.fft
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
HOP = 160
N_FFT = 400
N_MELS = 128
FLOOR = 1e-10
# Frames whose power spectrum is held at once: few enough that it stays in a core's cache and that its memory is used
# again and not given back to the system, at half of the time that a whole clip takes at once.
FRAMES_AT_ONCE = 192
# Of one run, some 3 ms: 15 s of sound.
FRAMES_PER_RUN = 8 * FRAMES_AT_ONCE
# SciPy transforms so many frames side by side, and what is left over one by one: filled up, a frame's spectrum does not
# depend on how many stand beside it.
FRAMES_ABREAST = 16


def _hz_to_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's scale: linear to 1 kHz, logarithmic above."""
    linear = hz * 3.0 / 200.0
    logarithmic = 15.0 + np.log(np.maximum(hz, 1e-9) / 1000.0) * 27.0 / np.log(6.4)
    return np.where(hz >= 1000.0, logarithmic, linear)


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = mel * 200.0 / 3.0
    logarithmic = 1000.0 * np.exp(np.log(6.4) / 27.0 * (mel - 15.0))
    return np.where(mel >= 15.0, logarithmic, linear)


def _edges_hz() -> NDArray[np.float64]:
    """Where the triangles begin, peak and end: [130], even on the mel scale."""
    return _mel_to_hz(np.linspace(0.0, float(_hz_to_mel(np.array(SAMPLE_RATE_HZ / 2.0))), N_MELS + 2))


@functools.cache
def mel_filters() -> NDArray[np.float32]:
    """Triangular filters of unit area (Slaney), 0 to 8 kHz: float32 [201, 128]."""
    bins_hz = np.linspace(0.0, SAMPLE_RATE_HZ / 2, N_FFT // 2 + 1)
    edges_hz = _edges_hz()
    widths = np.diff(edges_hz)
    slopes = edges_hz[None, :] - bins_hz[:, None]
    rising = -slopes[:, :-2] / widths[:-1]
    falling = slopes[:, 2:] / widths[1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    triangles *= 2.0 / (edges_hz[2:] - edges_hz[:-2])
    return triangles.astype(np.float32)


@functools.cache
def _segments() -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
    """The filters by the bins between two neighbouring edges, where one triangle rises and the one before it falls.

    Returns the first bin of each of the 129 segments, which of these have no bin at all, and the weight of each of the
    201 bins in the triangle that rises there and in the one that falls.
    """
    filters = mel_filters()
    bins_hz = np.linspace(0.0, SAMPLE_RATE_HZ / 2, N_FFT // 2 + 1)
    edges_hz = _edges_hz()
    segment = np.clip(np.searchsorted(edges_hz, bins_hz, side="right") - 1, 0, N_MELS)
    first = np.searchsorted(segment, np.arange(N_MELS + 1))
    empty = np.bincount(segment, minlength=N_MELS + 1) == 0
    bins = np.arange(segment.size)
    edged = np.pad(filters, ((0, 0), (1, 1)))
    return np.minimum(first, segment.size - 1), empty, edged[bins, segment + 1], edged[bins, segment]


def _mel_power(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """power float32 [201, frames] -> float32 [128, frames].

    A frame's sums are the same whatever frames stand beside it, which a matrix product does not promise: BLAS may add
    in another order for another number of rows, and then a live stream's block would not be the offline one.
    """
    first, empty, rising, falling = _segments()
    rises = np.add.reduceat(power * rising[:, None], first, axis=0)
    falls = np.add.reduceat(power * falling[:, None], first, axis=0)
    rises[empty] = falls[empty] = 0.0
    return rises[:-1] + falls[1:]


@functools.cache
def _window() -> NDArray[np.float32]:
    """Periodic Hann window: float32 [400]."""
    return np.hanning(N_FFT + 1)[:-1].astype(np.float32)


def log_mel(pcm: NDArray[np.float32]) -> NDArray[np.float32]:
    """log10 of the mel power of a clip, floored at 1e-10 and not clamped.

    pcm: float32 [samples], 16 kHz, at least 201 samples (the STFT reflects 200 at each end).
    Returns float32 [128, samples // 160]; frame i is centred on sample 160 i. Whisper's features are
    (max(this, clip maximum - 8) + 4) / 4.
    Raises ValueError when the clip is too short to reflect.
    """
    *_, mel = log_mel_in_parts(pcm)
    assert mel is not None
    return mel


def log_mel_in_parts(pcm: NDArray[np.float32]) -> Iterator[NDArray[np.float32] | None]:
    """`log_mel` in short runs: None after each but the last, then what that returns."""
    if pcm.ndim != 1 or pcm.shape[0] <= N_FFT // 2:
        raise ValueError(f"a clip of {pcm.shape} samples is too short: more than {N_FFT // 2} are needed")
    padded = np.pad(np.asarray(pcm, dtype=np.float32), N_FFT // 2, mode="reflect")
    num_frames = pcm.shape[0] // HOP
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP][:num_frames]
    mel = np.empty((N_MELS, num_frames), dtype=np.float32)
    for start in range(0, num_frames, FRAMES_AT_ONCE):
        if start and start % FRAMES_PER_RUN == 0:
            yield None
        part = frames[start : start + FRAMES_AT_ONCE]
        windowed = np.zeros((-(-len(part) // FRAMES_ABREAST) * FRAMES_ABREAST, N_FFT), dtype=np.float32)
        np.multiply(part, _window(), out=windowed[: len(part)])
        spectrum = scipy.fft.rfft(windowed, axis=1, overwrite_x=True)[: len(part)]
        power = spectrum.real**2 + spectrum.imag**2
        mel[:, start : start + len(part)] = _mel_power(np.ascontiguousarray(power.T))
    yield np.log10(np.maximum(mel, FLOOR, out=mel), out=mel)
