"""Audio of a live stream, in the formats of OpenAI's Realtime API, as 16-bit PCM at 16 kHz."""

from __future__ import annotations

import threading
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import AudioFrame

TARGET_HZ = 16_000
RATES_HZ = {"audio/pcm": 24_000, "audio/pcmu": 8_000, "audio/pcma": 8_000}


def mu_law(data: bytes) -> NDArray[np.int16]:
    """G.711 mu-law to 14-bit samples scaled to 16 (ITU-T G.711)."""
    code = ~np.frombuffer(data, dtype=np.uint8)
    magnitude = (((code & 0x0F).astype(np.int32) << 3) + 0x84) << ((code >> 4) & 0x07)
    return np.where(code & 0x80, 0x84 - magnitude, magnitude - 0x84).astype(np.int16)


def a_law(data: bytes) -> NDArray[np.int16]:
    """G.711 A-law to 13-bit samples scaled to 16 (ITU-T G.711)."""
    code = np.frombuffer(data, dtype=np.uint8) ^ 0x55
    segment, mantissa = ((code >> 4) & 0x07).astype(np.int32), (code & 0x0F).astype(np.int32)
    magnitude = (mantissa << 4) + 8
    magnitude = np.where(segment > 0, (magnitude + 0x100) << np.maximum(segment - 1, 0), magnitude)
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


class LiveAudio:
    """Decodes and resamples a stream, chunk by chunk, without a seam between them."""

    def __init__(self, kind: str, rate_hz: int) -> None:
        """kind: audio/pcm (16 bits, little-endian), audio/pcmu or audio/pcma; mono."""
        # FFmpeg's libraries are 30 MB in memory: taken when the first stream comes that needs them.
        import av

        self._kind = kind
        self._rate_hz = rate_hz
        # Large chunks are converted in threads, and a stream may end meanwhile.
        self._lock = threading.Lock()
        self._finished = False
        self._odd = b""
        self._position = 0
        self._resampler = (
            None if rate_hz == TARGET_HZ else av.AudioResampler(format="s16", layout="mono", rate=TARGET_HZ)
        )

    def convert(self, data: bytes) -> bytes:
        """The next bytes of the stream as s16le at 16 kHz; a few samples are held back until more come. After the end
        nothing comes. From any thread."""
        with self._lock:
            return b"" if self._finished else self._converted(data)

    def finish(self) -> bytes:
        """The end: what was held back."""
        with self._lock:
            if self._finished:
                return b""
            self._finished = True
            return (
                b"" if self._resampler is None or not self._position else self._joined(self._resampler.resample(None))
            )

    def _converted(self, data: bytes) -> bytes:
        if self._kind == "audio/pcm":
            data = self._odd + data
            self._odd = data[len(data) // 2 * 2 :]
            samples: NDArray[np.int16] = np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2").astype(np.int16)
        else:
            samples = mu_law(data) if self._kind == "audio/pcmu" else a_law(data)
        if self._resampler is None or not samples.size:
            return samples.astype("<i2").tobytes()
        return self._joined(self._resampler.resample(self._frame(samples)))

    def _frame(self, samples: NDArray[np.int16]) -> AudioFrame:
        import av

        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = self._rate_hz
        frame.pts, frame.time_base = self._position, Fraction(1, self._rate_hz)
        self._position += samples.size
        return frame

    def _joined(self, frames: list[AudioFrame]) -> bytes:
        return b"".join(frame.to_ndarray().astype("<i2").tobytes() for frame in frames)
