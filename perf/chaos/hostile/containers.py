"""Sound files that are truncated, forged, flipped, or no sound at all."""

from __future__ import annotations

import io
import struct
import wave
import zipfile
from fractions import Fraction
from functools import lru_cache
from typing import cast

import av
import numpy as np
from numpy.typing import NDArray

from perf.chaos.hostile.attack import Rng
from perf.speech.clips import RECORDINGS

RATE_HZ = 16_000
FORMATS = ("wav", "flac", "mp3", "ogg", "webm", "mp4")
CODECS = {"flac": "flac", "mp3": "libmp3lame", "ogg": "libopus", "webm": "libopus", "mp4": "aac"}


def sound_file(rng: Rng) -> bytes:
    """A file that is not what it seems."""
    return rng.choice((truncated, flipped, spliced, headers, forged_wav, forged_flac, lists, no_sound, floats, bombs))(
        rng
    )


@lru_cache
def whole(name: str) -> bytes:
    """Two fifths of a second of a tone in one of FORMATS; `english` is the recording that is shipped."""
    if name == "english":
        return (RECORDINGS / "english.flac").read_bytes()
    shorts = np.round(8_000 * np.sin(np.arange(6_400) * 0.1)).astype("<i2")
    return wav(shorts) if name == "wav" else encoded(name, shorts)


def wav(shorts: NDArray[np.int16]) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        written.writeframes(shorts.tobytes())
    return file.getvalue()


def encoded(name: str, shorts: NDArray[np.int16]) -> bytes:
    """int16 [samples] in a container of PyAV's, the same bytes every time."""
    rate = 48_000 if CODECS[name] == "libopus" else RATE_HZ
    file = io.BytesIO()
    with av.open(file, "w", format=name, options={"fflags": "+bitexact"}) as container:
        stream = cast(
            av.AudioStream, container.add_stream(CODECS[name], rate=rate, layout="mono", options={"flags": "+bitexact"})
        )
        context = stream.codec_context
        resampler = av.AudioResampler(context.format.name, "mono", rate, context.frame_size or 1_024)
        frame = av.AudioFrame.from_ndarray(shorts.reshape(1, -1), format="s16", layout="mono")
        frame.rate, frame.time_base, frame.pts = RATE_HZ, Fraction(1, RATE_HZ), 0
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return file.getvalue()


def any_whole(rng: Rng) -> bytes:
    return whole(rng.choice((*FORMATS, "english")))


def truncated(rng: Rng) -> bytes:
    data = any_whole(rng)
    return data[: rng.choice((rng.randrange(16), rng.randrange(len(data)), len(data) - 1))]


def flipped(rng: Rng) -> bytes:
    """Bits at random, in the head or anywhere."""
    data = bytearray(any_whole(rng))
    end = rng.choice((64, len(data)))
    for _ in range(rng.choice((1, 8, 200))):
        data[rng.randrange(min(end, len(data)))] ^= 1 << rng.randrange(8)
    return bytes(data)


def spliced(rng: Rng) -> bytes:
    """The head of one format and the rest of another; or one many times over."""
    one, other = any_whole(rng), any_whole(rng)
    cut = rng.randrange(min(len(one), len(other)))
    return rng.choice((one[:cut] + other[cut:], one * 20, b"\x00" * cut + one, one + rng.randbytes(5_000)))


def headers(rng: Rng) -> bytes:
    """The first bytes of every format that FFmpeg knows something of, and noise."""
    magic = rng.choice(
        (
            b"RIFF\xff\xff\xff\xffWAVE",
            b"fLaC\x00",
            b"OggS\x00\x02",
            b"\x1aE\xdf\xa3",
            b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f",
            b"\xff\xfb\x90",
            b"\x00\x00\x00\x18ftypmp42",
            b"FORM\xff\xff\xff\xffAIFF",
            b".snd\x00\x00\x00\x18",
            b"MThd",
            b"caff\x00\x01",
            b"FLV\x01\x05",
            b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
            b"\x47" * 188,
            b"0000ftypqt  ",
            b"wvpk",
            b"MAC ",
            b"TTA1",
            b"#!AMR\n",
            b"\x80\x00",
            b"RF64",
        )
    )
    return magic + rng.randbytes(rng.choice((0, 40, 3_000)))


def forged_wav(rng: Rng) -> bytes:
    """A header that claims what cannot be: hours, 65,535 channels, rates of 0 and 2^32 - 1, bits of 0 and 999."""
    tag = rng.choice((1, 3, 6, 7, 0x11, 0x55, 0xFFFE, rng.randrange(65_536)))
    channels = rng.choice((0, 1, 2, 255, 65_535))
    rate = rng.choice((0, 1, 7, 16_000, 384_000, 2**31, 2**32 - 1))
    bits = rng.choice((0, 1, 8, 16, 24, 32, 64, 999, 65_535))
    align = rng.choice((0, 1, 2, 65_535))
    form = struct.pack("<HHIIHH", tag, channels, rate, rng.choice((0, 32_000, 2**32 - 1)), align, bits)
    size = rng.choice((0, 1, 3_200, 2**31, 2**32 - 1))
    data = rng.randbytes(rng.choice((0, 1, 3_200)))
    return (
        b"RIFF"
        + struct.pack("<I", rng.choice((0, 36, 2**32 - 1)))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", size)
        + data
    )


def forged_flac(rng: Rng) -> bytes:
    """Stream information that claims 2^36 samples, eight channels, a rate of 0 or of 1 MHz."""
    data = bytearray(whole(rng.choice(("flac", "english"))))
    rate, channels, bits = rng.choice((0, 1, 655_350, 2**20 - 1)), rng.randrange(8), rng.randrange(32)
    samples = rng.choice((0, 1, 2**36 - 1))
    packed = rate << 44 | channels << 41 | bits << 36 | samples
    data[18:26] = packed.to_bytes(8, "big")
    return bytes(data)


def lists(rng: Rng) -> bytes:
    """Files that name others: descriptions, lists and subtitles that make FFmpeg open addresses and files."""
    place = rng.choice(
        (
            "/etc/passwd",
            "file:///etc/passwd",
            "http://127.0.0.1:1/x",
            "/dev/zero",
            "concat:/etc/passwd|/etc/hosts",
            "subfile,,start,0,end,99,,:/etc/passwd",
            "data:audio/wav;base64,AAAA",
            "udp://127.0.0.1:9",
            "../../../../etc/passwd",
        )
    )
    return rng.choice(
        (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{place}\n#EXT-X-ENDLIST\n",
            f"ffconcat version 1.0\nfile '{place}'\nduration 3600\n",
            f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns={place}\nc=IN IP4 127.0.0.1\nt=0 0\n"
            f"m=audio {rng.randrange(1_024, 60_000)} RTP/AVP 0\n",
            f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "{place}">]><MPD>&e;</MPD>',
            f"[playlist]\nFile1={place}\nLength1=-1\n",
            f'#EXTM3U\n#EXT-X-MAP:URI="{place}"\n#EXT-X-KEY:METHOD=AES-128,URI="{place}"\n#EXTINF:1,\n{place}\n',
            f"<svg xmlns='http://www.w3.org/2000/svg'><image href='{place}'/></svg>",
        )
    ).encode()


def no_sound(rng: Rng) -> bytes:
    """Nothing, text, a picture, noise, a program, a page."""
    return rng.choice(
        (
            b"",
            b"\x00",
            b"hello",
            b"\x89PNG\r\n\x1a\n" + rng.randbytes(500),
            rng.randbytes(20_000),
            b"\x7fELF" + rng.randbytes(500),
            b"<html></html>",
            b"\x00" * 100_000,
            b"%PDF-1.7\n",
            b"GIF89a" + rng.randbytes(200),
            b"\xff" * 50_000,
        )
    )


def floats(rng: Rng) -> bytes:
    """WAV of floats: NaN, infinity, the largest there are, denormals."""
    values = np.full(3_200, rng.choice((np.nan, np.inf, -np.inf, 3.4e38, 1e-40, 1e20)), dtype="<f4")
    if rng.random() < 0.5:
        values[rng.randrange(3_200) :] = 0.1
    data = values.tobytes()
    form = struct.pack("<HHIIHH", 3, 1, RATE_HZ, 4 * RATE_HZ, 4, 32)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )


@lru_cache
def _zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as written:
        # With a date of its own: the same at every time.
        written.writestr(zipfile.ZipInfo("sound.wav"), bytes(20_000_000), zipfile.ZIP_DEFLATED)
    return file.getvalue()


@lru_cache
def _quiet_flac() -> bytes:
    """Two minutes of silence in a few kilobytes."""
    return encoded("flac", np.zeros(120 * RATE_HZ, dtype=np.int16))


def bombs(rng: Rng) -> bytes:
    """Small, and large inside. Long silence is lawful, and costs what it costs: seldom."""
    return _quiet_flac() if rng.random() < 0.05 else _zip_bomb()
