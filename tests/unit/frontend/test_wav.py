"""WAV files that are read without FFmpeg: the same samples, and all others left to it."""

import io
import tempfile
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.audio.decoding import AudioTooLong, decode_parts
from frontend.audio.wav import plain_parts

RATE = 16_000


def wav(samples, rate=RATE, channels=1, width=2):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(np.asarray(samples, dtype={1: "u1", 2: "<i2", 4: "<i4"}[width]).tobytes())
    return file.getvalue()


def noise(count, seed=1):
    return np.random.default_rng(seed).integers(-32_768, 32_768, count)


def chunk(name, data):
    return name + len(data).to_bytes(4, "little") + data + bytes(len(data) % 2)


@pytest.mark.parametrize("count", [1, 7, 511, RATE, 10 * RATE, 10 * RATE + 1, 25 * RATE])
def test_the_samples_are_those_that_ffmpeg_reads(count):
    data = wav(noise(count))
    parts = [*plain_parts(io.BytesIO(data), 60)]
    assert np.array_equal(np.concatenate(parts), np.concatenate([*decode_parts(io.BytesIO(data), 60)]))
    assert all(part.dtype == np.float32 and part.size <= 10 * RATE for part in parts)


def test_what_stands_around_the_samples_is_not_sound():
    plain = wav(noise(1_001))
    riff, fmt, data = plain[:12], plain[12:36], plain[36:] + b"\0\0"
    around = (
        riff + chunk(b"LIST", b"INFO of somebody") + fmt + chunk(b"junk", bytes(7)) + data + chunk(b"id3 ", b"x" * 99)
    )
    expected = np.concatenate([*plain_parts(io.BytesIO(plain), 60)])
    assert np.array_equal(np.concatenate([*plain_parts(io.BytesIO(around), 60)]), expected)


def test_a_file_on_the_disk_is_read_in_parts():
    data = wav(noise(21 * RATE))
    with tempfile.SpooledTemporaryFile(max_size=1_000) as file:
        file.write(data)
        assert [part.size for part in plain_parts(file, 60)] == [10 * RATE, 10 * RATE, RATE]


OTHERS = {
    "another rate": wav(noise(800), rate=8_000),
    "two channels": wav(noise(800), channels=2),
    "24 bits and more": wav(noise(800), width=4),
    "eight bits": wav(np.zeros(800), width=1),
    "no samples": wav([]),
    "cut short": wav(noise(800))[:-1],
    "a length that nobody knew": wav(noise(800))[:40] + b"\xff\xff\xff\xff" + wav(noise(800))[44:],
    "a header alone": wav(noise(800))[:30],
    "float": wav(noise(800)).replace(b"fmt \x10\0\0\0\x01", b"fmt \x10\0\0\0\x03"),
    "big-endian": b"RIFX" + wav(noise(800))[4:],
    "no WAVE": b"RIFF\x04\0\0\0AVI ",
    "a chunk longer than the file": wav(noise(800))[:12] + b"LIST\x00\x00\x10\x00" + wav(noise(800))[12:],
    "something else": b"fLaC" + bytes(100),
    "nothing": b"",
}


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_file_is_left_to_ffmpeg_at_its_beginning(name):
    file = io.BytesIO(OTHERS[name])
    assert plain_parts(file, 60) is None
    assert file.tell() == 0


def test_what_is_too_long_is_refused_by_its_header():
    parts = plain_parts(io.BytesIO(wav(noise(2 * RATE))), 1.5)
    with pytest.raises(AudioTooLong, match=r"longer than 1\.5 s"):
        next(parts)


@given(st.data())
def test_no_header_is_too_strange_to_be_judged(data):
    """Bytes of it that are anything: samples, or for FFmpeg to judge."""
    header = bytearray(wav(noise(400)))
    for _ in range(data.draw(st.integers(1, 6))):
        header[data.draw(st.integers(4, 47))] = data.draw(st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF]))
    parts = plain_parts(io.BytesIO(bytes(header)), 60)
    assert parts is None or sum(part.size for part in parts) <= 402
