"""From any sound file to what the models take: 16 kHz mono float32."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import AudioResampler, Packet
    from av.container import InputContainer

SAMPLE_RATE_HZ = 16_000


class AudioError(ValueError):
    """The upload holds no sound that can be decoded; the message says what is wrong."""


class AudioTooLong(AudioError):
    """The upload is longer than is allowed."""


def decode(file: BinaryIO, max_seconds: float) -> NDArray[np.float32]:
    """Decode the first sound track of a file of any format that FFmpeg reads.

    file: open for reading, seekable. Returns float32 [samples] in [-1, 1], 16 kHz mono.
    Raises AudioError where there is nothing to decode, AudioTooLong beyond `max_seconds`.
    """
    return np.concatenate(list(decode_parts(file, max_seconds)))


def decode_parts(file: BinaryIO, max_seconds: float) -> Iterator[NDArray[np.float32]]:
    """The same, part by part of about a second, so that a file of hours is never in memory as a whole."""
    # FFmpeg's libraries are 30 MB in memory: taken when the first file comes, not at start.
    import av
    import av.error

    try:
        with av.open(file, mode="r", metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise AudioError("the file has no sound track")
            yield from _parts(container, max_seconds)
    except (av.error.FFmpegError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"the file cannot be decoded as audio: {reason}") from error


def _parts(container: InputContainer, max_seconds: float) -> Iterator[NDArray[np.float32]]:
    import av

    stream = container.streams.audio[0]
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
    parts: list[NDArray[np.float32]] = []
    num_samples = num_waiting = 0
    frames = (frame for packet in container.demux(stream) for frame in _decoded(packet))
    for frame in _resampled(frames, resampler):
        part = frame.to_ndarray().reshape(-1)
        parts.append(part)
        num_samples += part.size
        num_waiting += part.size
        if num_samples > max_seconds * SAMPLE_RATE_HZ:
            raise AudioTooLong(f"the audio is longer than {max_seconds:g} s")
        if num_waiting >= SAMPLE_RATE_HZ:
            yield _sound(parts)
            parts, num_waiting = [], 0
    if num_samples == 0:
        raise AudioError("the file holds no sound")
    if parts:
        yield _sound(parts)


def _sound(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    # Decoders of lossy formats overshoot a little, and a broken float file may hold anything.
    return np.clip(np.nan_to_num(np.concatenate(parts)), -1.0, 1.0)


def _decoded(packet: Packet) -> Iterator[Any]:
    """Frames of a packet; a damaged packet in the middle of a file is skipped, as players do."""
    import av.error

    try:
        yield from packet.decode()
    except av.error.InvalidDataError:
        return


def _resampled(frames: Iterator[Any], resampler: AudioResampler) -> Iterator[Any]:
    for frame in frames:
        frame.pts = None
        yield from resampler.resample(frame)
    yield from resampler.resample(None)
