import io
import socket

import av
import numpy as np
import pytest
import soundfile

from frontend.audio.decoding import AudioError, AudioTooLong, decode, decode_parts
from tests.conftest import RECORDINGS


def encoded(container, codec, rate, channels, seconds=1.0):
    """A 440 Hz tone as a file of this kind."""
    out = io.BytesIO()
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout)
        tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.tile(tone, (channels, 1)), format="fltp", layout=layout)
        frame.rate = rate
        resampler = av.AudioResampler(
            format=stream.format, layout=layout, rate=rate, frame_size=stream.codec_context.frame_size or None
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            for packet in stream.encode(part):
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)
    out.seek(0)
    return out


@pytest.mark.parametrize(
    ("container", "codec", "rate", "channels"),
    [
        ("wav", "pcm_s16le", 8_000, 1),
        ("wav", "pcm_s24le", 44_100, 2),
        ("wav", "pcm_f32le", 16_000, 1),
        ("wav", "pcm_s16le", 16_000, 1),
        ("wav", "pcm_s24le", 16_000, 1),
        ("wav", "pcm_u8", 16_000, 1),
        ("flac", "flac", 16_000, 1),
        ("wav", "pcm_s16le", 48_000, 6),
        ("flac", "flac", 48_000, 2),
        ("mp3", "libmp3lame", 44_100, 2),
        ("ogg", "libopus", 48_000, 2),
        ("mp4", "aac", 44_100, 2),
        ("webm", "libopus", 48_000, 1),
    ],
)
def test_any_format_rate_and_channels(container, codec, rate, channels):
    assert_tone(decode(encoded(container, codec, rate, channels), max_seconds=10))


def test_ogg_vorbis():
    file = io.BytesIO()
    soundfile.write(file, 0.5 * np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050), 22_050, format="OGG")
    file.seek(0)
    assert_tone(decode(file, max_seconds=10))


def assert_tone(pcm):
    """A second of 440 Hz."""
    assert pcm.dtype == np.float32
    assert abs(pcm.size - 16_000) < 1_600
    spectrum = np.abs(np.fft.rfft(pcm[2_000:14_000]))
    assert abs(np.argmax(spectrum) * 16_000 / 12_000 - 440) < 3
    assert np.abs(pcm).max() <= 1.0


@pytest.mark.parametrize("data", [b"", b"not audio at all" * 50, b"RIFF\x00\x00\x00\x00WAVE"])
def test_what_is_no_sound_is_refused(data):
    with pytest.raises(AudioError):
        decode(io.BytesIO(data), max_seconds=10)


def test_too_long_is_refused_before_all_is_decoded():
    with pytest.raises(AudioTooLong, match="longer than 2 s"):
        decode(encoded("wav", "pcm_s16le", 16_000, 1, seconds=30), max_seconds=2)


def test_a_file_that_breaks_off_gives_what_it_has():
    whole = encoded("mp3", "libmp3lame", 44_100, 1, seconds=2).getvalue()
    pcm = decode(io.BytesIO(whole[: len(whole) // 2]), max_seconds=10)
    assert 0.5 < pcm.size / 16_000 < 1.5


def wav_at(rate):
    data = bytearray(encoded("wav", "pcm_s16le", 8_000, 1, seconds=1).getvalue())
    data[24:28] = rate.to_bytes(4, "little")
    return io.BytesIO(bytes(data))


@pytest.mark.parametrize("rate", [1, 100, 3_999])
def test_a_rate_that_makes_hours_of_bytes_is_refused(rate):
    with pytest.raises(AudioError, match="4000 are the fewest"):
        decode(wav_at(rate), max_seconds=10**9)


def test_a_file_that_costs_too_much_is_given_up():
    file = encoded("flac", "flac", 16_000, 1, seconds=30)
    with pytest.raises(AudioError, match="ten seconds of it take more"):
        list(decode_parts(file, 100, part_cpu_s=-1.0))
    # Only a part has to be quick.
    file.seek(0)
    assert len(list(decode_parts(file, 100, part_cpu_s=5.0))) == 3


def test_a_file_that_nobody_waits_for_is_not_decoded_to_its_end():
    file = encoded("flac", "flac", 16_000, 1, seconds=100)
    looks, gone = [], []

    def is_unwanted():
        looks.append(file.tell())
        return bool(gone)

    parts = decode_parts(file, 1_000, is_unwanted=is_unwanted)
    next(parts)
    gone.append(True)
    num_looks = len(looks)
    with pytest.raises(AudioError, match="nobody"):
        next(parts)
    # Not at the end of a part: at the next packet.
    assert len(looks) == num_looks + 1


@pytest.mark.parametrize("error", [MemoryError(), ZeroDivisionError(), UnicodeDecodeError("utf-8", b"", 0, 1, "x")])
def test_whatever_a_file_breaks_is_the_files_fault(error):
    class Broken(io.BytesIO):
        def read(self, *_):
            raise error

    with pytest.raises(AudioError, match="cannot be decoded"):
        decode(Broken(b"RIFF"), 10)


@pytest.mark.parametrize(
    "text",
    [
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        "<Representation><BaseURL>http://127.0.0.1:{port}/x.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "[playlist]\nFile1=http://127.0.0.1:{port}/x.mp3\nNumberOfEntries=1\n",
        "#!AAP\nhttp://127.0.0.1:{port}/\n",
        "rtsp://127.0.0.1:{port}/x\n",
        "/dev/%d.png\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
        "ffconcat version 1.0\nfile {recording}\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{recording}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:{port}/x.ts\n#EXT-X-ENDLIST\n",
    ],
)
def test_an_upload_opens_neither_files_nor_connections(text):
    """Descriptions of sound that lies elsewhere are no sound files; nobody hears a connection meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        data = text.format(port=port, recording=RECORDINGS / "english.flac").encode()
        with pytest.raises(AudioError):
            decode(io.BytesIO(data), 60)
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()
