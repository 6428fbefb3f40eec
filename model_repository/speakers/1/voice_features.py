"""What speaker encoders hear: mel power as librosa computes it, and filter banks as Kaldi does."""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Floats = NDArray[np.float32]
SAMPLE_RATE_HZ = 16_000
HOP, WINDOW = 160, 400
# Of Kaldi's: its FFT, the band of its filters, and its emphasis of what is high.
KALDI_FFT, KALDI_LOW_HZ, PREEMPHASIS = 512, 20.0, 0.97
INT16 = 32_768.0
FLOOR = float(np.finfo(np.float32).eps)


def features(pcm: Floats, kind: str, num_mels: int) -> Floats:
    """float32 [frames, num_mels], one frame for each 160 samples. pcm: float32 [samples], 16 kHz.

    kind: mel_power: centred Hann windows of 400 samples, power, Slaney's filters (librosa.feature.melspectrogram).
    kaldi_fbank: windows from each frame's first sample on, without their mean, emphasized, Hamming, power, Kaldi's
    filters, natural logarithm (torchaudio.compliance.kaldi.fbank without dither).
    """
    if kind == "mel_power":
        frames = _frames(np.pad(pcm, WINDOW // 2), 1 + pcm.size // HOP)
        spectrum = scipy.fft.rfft(frames * _hann(), axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        return (power @ _slaney_filters(num_mels)).astype(np.float32)
    frames = _frames(np.pad(pcm * INT16, (0, WINDOW)), max(1, 1 + (pcm.size - WINDOW) // HOP)).copy()
    frames -= frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    frames = (frames - PREEMPHASIS * before) * np.hamming(WINDOW).astype(np.float32)
    spectrum = scipy.fft.rfft(frames, KALDI_FFT, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    return np.log(np.maximum(power[:, : KALDI_FFT // 2] @ _kaldi_filters(num_mels), FLOOR)).astype(np.float32)


def levels(pcm: Floats, count: int) -> Floats:
    """The mean square of each frame's 160 samples: float32 [count]."""
    padded = np.pad(pcm, (0, max(0, count * HOP - pcm.size)))[: count * HOP]
    return np.mean(np.square(padded.reshape(count, HOP)), axis=1, dtype=np.float32)


def _frames(padded: Floats, count: int) -> Floats:
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:count]


@functools.cache
def _hann() -> Floats:
    return np.hanning(WINDOW + 1)[:-1].astype(np.float32)


@functools.cache
def _slaney_filters(num_mels: int) -> Floats:
    """[201, num_mels], triangles of unit area, 0 to 8 kHz; linear to 1 kHz, logarithmic above."""
    top = 15.0 + np.log(8.0) * 27.0 / np.log(6.4)
    mel = np.linspace(0.0, top, num_mels + 2)
    edges = np.where(mel >= 15.0, 1000.0 * np.exp(np.log(6.4) / 27.0 * (mel - 15.0)), mel * 200.0 / 3.0)
    filters = _triangles(np.linspace(0.0, SAMPLE_RATE_HZ / 2, WINDOW // 2 + 1), edges)
    return (filters * 2.0 / (edges[2:] - edges[:-2])).astype(np.float32)


@functools.cache
def _kaldi_filters(num_mels: int) -> Floats:
    """[256, num_mels], triangles that are even on the scale 1127 ln(1 + f / 700), from 20 Hz to 8 kHz."""

    def mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127.0 * np.log(1.0 + hz / 700.0)

    low, high = mel(np.array([KALDI_LOW_HZ, SAMPLE_RATE_HZ / 2]))
    bins = mel(np.arange(KALDI_FFT // 2) * SAMPLE_RATE_HZ / KALDI_FFT)
    return _triangles(bins, np.linspace(low, high, num_mels + 2)).astype(np.float32)


def _triangles(places: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """[places, edges - 2]: each rises from its edge to the next one, and falls to the one behind that."""
    widths = np.diff(edges)
    slopes = edges[None, :] - places[:, None]
    return np.maximum(0.0, np.minimum(-slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]))
