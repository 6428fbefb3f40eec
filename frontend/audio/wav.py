"""What speech is mostly sent as, 16-bit PCM at 16 kHz in a RIFF file, read as it is: FFmpeg costs ten times that."""

from __future__ import annotations

import os
import wave
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from frontend.audio.decoding import PART_S, SAMPLE_RATE_HZ, AudioTooLong

MAGIC = b"RIFF"
SAMPLE_BYTES = 2
FULL_SCALE = np.float32(2**15)


def plain_parts(file: BinaryIO, max_seconds: float) -> Iterator[NDArray[np.float32]] | None:
    """The parts that `decode_parts` gives of such a file: float32 [samples] in [-1, 1), 16 kHz mono, of ten seconds.

    file: open for reading, seekable. None, and the file at its beginning, where it is any other one, or does not hold
    all that its header names: that is for FFmpeg to judge. The first part raises AudioTooLong beyond `max_seconds`.
    """
    file.seek(0)
    begin, num_bytes = _samples_of(file) if file.read(len(MAGIC)) == MAGIC else (0, 0)
    if not num_bytes:
        file.seek(0)
        return None
    return _parts(file, begin, num_bytes, max_seconds)


def _samples_of(file: BinaryIO) -> tuple[int, int]:
    """Where they begin, and how many bytes they are; 0 where it is another kind of file, or not all of it is there."""
    file.seek(0)
    try:
        # It leaves a file open that was.
        header = wave.open(file, "rb")  # noqa: SIM115
    except (wave.Error, EOFError, RuntimeError):
        # RuntimeError: a chunk is longer than the file says that it is itself.
        return 0, 0
    begin = file.tell()
    file.seek(0, os.SEEK_END)
    num_bytes = header.getnframes() * SAMPLE_BYTES
    shape = header.getnchannels(), header.getsampwidth(), header.getframerate()
    is_plain = shape == (1, SAMPLE_BYTES, SAMPLE_RATE_HZ)
    return begin, num_bytes if is_plain and num_bytes <= file.tell() - begin else 0


def _parts(file: BinaryIO, begin: int, num_bytes: int, max_seconds: float) -> Iterator[NDArray[np.float32]]:
    if num_bytes > max_seconds * SAMPLE_RATE_HZ * SAMPLE_BYTES:
        raise AudioTooLong(f"the audio is longer than {max_seconds:g} s")
    file.seek(begin)
    while data := file.read(min(num_bytes, PART_S * SAMPLE_RATE_HZ * SAMPLE_BYTES)):
        num_bytes -= len(data)
        yield np.frombuffer(data, dtype="<i2").astype(np.float32) / FULL_SCALE
