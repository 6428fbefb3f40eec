"""From any sound file to what the models take: 16 kHz mono float32."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import AudioResampler, Packet
    from av.container import InputContainer

SAMPLE_RATE_HZ = 16_000
# Decoded in a row: enough that the way to a thread and back is cheap, little enough that text comes soon.
PART_S = 10
# Containers and bare streams that hold recordings, by FFmpeg's names. Left out are those that read other files or open
# connections (playlists, session descriptions, scripts) and those for pictures and devices.
FORMATS = (
    "aac,ac3,ac4,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,gsm,ilbc,loas,matroska,webm,mov,mp4,m4a,3gp,"
    "3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,mxf,nut,ogg,rm,shn,tak,truehd,tta,voc,w64,wav,wv"
)
# A list of none, and not an empty one, which would mean the defaults.
NOWHERE = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
# Below this nothing can be understood, and a few bytes would become hours at 16 kHz.
MIN_RATE_HZ = 4_000
# Processor time that ten seconds of sound may take: a file that costs more is made to cost.
PART_CPU_S = 20.0
# Sample formats, packed or planar, and the number that stands for 1.0.
FULL_SCALE = {"s16": np.float32(2**15), "s32": np.float32(2**31), "flt": np.float32(1)}


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


def decode_parts(
    file: BinaryIO,
    max_seconds: float,
    part_cpu_s: float = PART_CPU_S,
    is_unwanted: Callable[[], bool] = lambda: False,
) -> Iterator[NDArray[np.float32]]:
    """The same, part by part of seconds, so that a file of hours is never in memory as a whole.

    part_cpu_s: processor time of one part, AudioError beyond it. is_unwanted: asked again and again; once it is true a
    part that is under way ends with an AudioError. Each part may be asked for in another thread.
    """
    # FFmpeg's libraries are 30 MB in memory: taken when the first file comes, not at start.
    import av

    watched = _Watched(file, part_cpu_s, is_unwanted)
    try:
        with av.open(watched, mode="r", metadata_errors="ignore", container_options=NOWHERE) as container:
            if not container.streams.audio:
                raise AudioError("the file has no sound track")
            for part in _parts(container, max_seconds, watched):
                yield part
                watched.begin()
    except AudioError:
        raise
    except Exception as error:
        # FFmpeg's errors, and whatever a broken file makes of the numbers in it.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise AudioError(f"the file cannot be decoded as audio: {reason}") from error


class _Watched:
    """A file that is read as long as the time of a part lasts: a demuxer that gets nowhere mostly reads."""

    def __init__(self, file: BinaryIO, part_cpu_s: float, is_unwanted: Callable[[], bool]) -> None:
        self._file = file
        self._is_unwanted = is_unwanted
        self._part_cpu_s = part_cpu_s
        self._begun_s = 0.0
        self.begin()

    def begin(self) -> None:
        """A part begins, in the thread that calls."""
        self._begun_s = time.thread_time()

    def check(self) -> None:
        """Raises AudioError where this part has taken too long, or nobody wants it any more."""
        if self._is_unwanted():
            raise AudioError("nobody waits for the file")
        if time.thread_time() - self._begun_s > self._part_cpu_s:
            raise AudioError(f"the file cannot be decoded: ten seconds of it take more than {self._part_cpu_s:g} s")

    def read(self, size: int) -> bytes:
        self.check()
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _parts(container: InputContainer, max_seconds: float, watched: _Watched) -> Iterator[NDArray[np.float32]]:
    stream = container.streams.audio[0]
    frames = (frame for packet in _packets(container, stream, watched) for frame in _decoded(packet))
    waiting: list[NDArray[np.float32]] = []
    num_samples = num_waiting = 0
    for samples in _samples(frames):
        watched.check()
        waiting.append(samples)
        num_samples += samples.size
        num_waiting += samples.size
        if num_samples > max_seconds * SAMPLE_RATE_HZ:
            raise AudioTooLong(f"the audio is longer than {max_seconds:g} s")
        if num_waiting >= PART_S * SAMPLE_RATE_HZ:
            yield _sound(waiting)
            waiting, num_waiting = [], 0
    if num_samples == 0:
        raise AudioError("the file holds no sound")
    if waiting:
        yield _sound(waiting)


def _packets(container: InputContainer, stream: Any, watched: _Watched) -> Iterator[Packet]:
    for packet in container.demux(stream):
        watched.check()
        yield packet


def _sound(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    sound = np.concatenate(parts)
    # A broken float file may hold anything, and decoders of lossy formats overshoot a little.
    if not np.isfinite(sound).all():
        sound = np.nan_to_num(sound)
    return np.clip(sound, -1.0, 1.0)


def _decoded(packet: Packet) -> Iterator[Any]:
    """Frames of a packet; a damaged packet in the middle of a file is skipped, as players do."""
    import av.error

    try:
        yield from packet.decode()
    except av.error.InvalidDataError:
        return


def _samples(frames: Iterator[Any]) -> Iterator[NDArray[np.float32]]:
    """Frames of any kind as float32 at 16 kHz, mono."""
    import av

    resampler: AudioResampler | None = None
    for frame in frames:
        if frame.sample_rate < MIN_RATE_HZ:
            raise AudioError(f"the sound has {frame.sample_rate} samples a second; {MIN_RATE_HZ} are the fewest")
        scale = FULL_SCALE.get(frame.format.name.removesuffix("p"))
        if resampler is None and scale and frame.sample_rate == SAMPLE_RATE_HZ and frame.layout.nb_channels == 1:
            # What speech is mostly kept as: only the numbers change, and the resampler would cost several times that.
            yield frame.to_ndarray().reshape(-1).astype(np.float32) / scale
            continue
        resampler = resampler or av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
        frame.pts = None
        yield from _arrays(resampler.resample(frame))
    if resampler is not None:
        yield from _arrays(resampler.resample(None))


def _arrays(frames: list[Any]) -> Iterator[NDArray[np.float32]]:
    return (frame.to_ndarray().reshape(-1) for frame in frames)
