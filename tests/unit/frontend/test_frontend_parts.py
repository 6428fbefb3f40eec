"""The frontend's pure parts: segments, subtitles, joining, live audio, requests and keys."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontend.__main__ import usage
from frontend.api.realtime_session import RealtimeMistake, RealtimeSession
from frontend.api.transcription_request import checked_request
from frontend.app import create_app
from frontend.audio.joining import separator
from frontend.audio.live_audio import LiveAudio, a_law, mu_law
from frontend.audio.segments import WINDOW, SegmentRules, segments
from frontend.audio.subtitles import srt, vtt
from frontend.audio.timed import Timed
from frontend.errors import ApiError
from frontend.guard.keys import Bucket, Keys, KeysError
from frontend.settings import Settings

RULES = SegmentRules(max_s=6.0, early_s=2.0, pause_ms=320, padding_ms=100)


async def cut(loud, part_sizes, rules=RULES):
    """Segments of a recording whose windows are loud or not; its samples are their own numbers."""
    pcm = np.arange(len(loud) * WINDOW, dtype=np.float32)

    async def parts():
        start, sizes = 0, iter(part_sizes)
        while start < pcm.size:
            size = next(sizes, 16_000)
            yield pcm[start : start + size]
            start += size

    pending = 0

    async def vad(part, state):
        nonlocal pending
        first, pending = pending // WINDOW, pending + part.size
        return np.array([0.9 if one else 0.01 for one in loud[first : pending // WINDOW]], dtype=np.float32), state

    return [segment async for segment in segments(parts(), vad, rules)]


@settings(max_examples=50, deadline=None)
@given(
    runs=st.lists(st.tuples(st.booleans(), st.integers(1, 120)), max_size=12),
    part_sizes=st.lists(st.integers(1, 40_000), max_size=20),
)
async def test_segments_hold_everything_that_is_said_once(runs, part_sizes):
    loud = [one for one, count in runs for _ in range(count)]
    found = await cut(loud, part_sizes)
    last = 0
    for segment in found:
        # The samples are their own numbers: nothing was moved.
        assert segment.pcm[0] == segment.start >= last
        assert segment.pcm.size == segment.end - segment.start
        assert segment.pcm.size <= RULES.max_s * 16_000 + WINDOW
        last = segment.end
    covered = {index for s in found for index in range(-(-s.start // WINDOW), s.end // WINDOW)}
    assert {index for index, one in enumerate(loud) if one} <= covered | _edges(found)


def _edges(found):
    """Windows that two segments share: cut in their middle, all of their samples are somewhere."""
    return {s.start // WINDOW for s in found} | {(s.end - 1) // WINDOW for s in found}


async def test_a_segment_ends_at_a_pause():
    loud = [True] * 80 + [False] * 20 + [True] * 80
    first, second = await cut(loud, [])
    assert 80 * WINDOW <= first.end <= 100 * WINDOW
    assert 80 * WINDOW <= second.start <= 100 * WINDOW


async def test_without_a_pause_the_longest_is_cut():
    found = await cut([True] * 500, [])
    assert len(found) >= 3
    assert all(one.end == other.start for one, other in itertools.pairwise(found))


def test_subtitles():
    cues = [Timed(0.0, 1.5, "one & two"), Timed(3_661.0014, 3_662.9999, "三")]
    assert srt(cues) == ("1\n00:00:00,000 --> 00:00:01,500\none & two\n\n2\n01:01:01,001 --> 01:01:03,000\n三\n")
    assert vtt(cues).startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\none &amp; two\n")


@pytest.mark.parametrize(
    ("before", "after", "between"),
    [("one", "two", " "), ("三", "四", ""), ("three", "四", " "), ("한국", "말", " "), ("", "a", ""), ("a ", "b", "")],
)
def test_texts_are_joined_as_one_would_write(before, after, between):
    assert separator(before, after) == between


def test_g711_decodes_to_itu_values():
    # First, middle and last codes of both signs (ITU-T G.711, tables 1 and 2, scaled to 16 bits).
    assert mu_law(bytes([0x00, 0x7F, 0x80, 0xFF])).tolist() == [-32_124, 0, 32_124, 0]
    assert a_law(bytes([0x55, 0xD5, 0x2A, 0xAA])).tolist() == [-8, 8, -32_256, 32_256]


@pytest.mark.parametrize("rate", [16_000, 24_000])
@pytest.mark.parametrize("chunk", [1, 961, 4_801, 96_000])
def test_chunks_of_a_live_stream_leave_no_seam(rate, chunk):
    tone = np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)
    data = np.round(tone * 20_000).astype("<i2").tobytes()[: rate * 4]
    if chunk == 1:
        data = data[:4_000]
    audio = LiveAudio("audio/pcm", rate)
    parts = [audio.convert(data[start : start + chunk]) for start in range(0, len(data), chunk)]
    out = np.frombuffer(b"".join([*parts, audio.finish()]), dtype="<i2").astype(np.float64)
    assert abs(out.size - len(data) / 2 * 16_000 / rate) <= 32
    expected = np.sin(2 * np.pi * 440 * np.arange(out.size) / 16_000) * 20_000
    # The ends are the resampler's own.
    middle = slice(100, out.size - 100)
    assert np.abs(out[middle] - expected[middle]).max() < 300


def wanted(**fields):
    plain = {
        "response_format": "json",
        "stream": False,
        "language": None,
        "languages": (),
        "prompt": None,
        "keywords": (),
        "temperature": 0.0,
        "include": (),
        "timestamp_granularities": (),
        "chunking_strategy": None,
        "debug": False,
    }
    return checked_request(**{**plain, **fields})


def test_fields_become_a_request():
    assert wanted(languages=["en"]).language == "en"
    assert wanted(languages=["en", "zh"]).language is None
    assert wanted(prompt=" names ", keywords=["Triton", " ", "ASR"]).context == "names\nTriton, ASR"
    assert wanted().rules is None
    assert wanted(response_format="srt").rules.max_s < 30
    strategy = json.dumps({"type": "server_vad", "threshold": 0.7, "silence_duration_ms": 250})
    assert (wanted(chunking_strategy=strategy).rules.threshold, wanted(chunking_strategy="auto").rules) == (0.7, None)


@pytest.mark.parametrize("strategy", ["{}", "[]", '"auto"', '{"type": "server_vad", "threshold": true}', "never"])
def test_bad_strategies_are_refused(strategy):
    with pytest.raises(ApiError) as caught:
        wanted(chunking_strategy=strategy)
    assert caught.value.param == "chunking_strategy"


@pytest.mark.parametrize(
    "update",
    [None, 1, {"audio": []}, {"audio": {"input": {"format": "pcm"}}}, {"include": "x"},
     {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}},
     {"audio": {"input": {"turn_detection": {"threshold": "high"}}}},
     {"audio": {"input": {"transcription": {"language": 7}}}},
     {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 44_100}}}}],
)  # fmt: skip
def test_realtime_mistakes_name_what_is_wrong(update):
    with pytest.raises(RealtimeMistake):
        RealtimeSession("s", "m").updated(update, ["m"])


def test_a_bucket_refills():
    bucket = Bucket(per_minute=60)
    assert [bucket.take() for _ in range(60)] == [0.0] * 60
    assert 0 < bucket.take() <= 1
    bucket._full_at.set(bucket._full_at.get() - 2)
    assert bucket.take() == 0


def test_keys_come_from_the_setting_and_the_file(tmp_path):
    (tmp_path / "keys").write_text("# ours\nsecond\n\nthird\n")
    keys = Keys.of(Settings(api_keys=["first"], api_keys_file=tmp_path / "keys"))
    assert [keys.find(name) for name in ("first", "second", "third", "", "# ours", "fourth")] == [0, 1, 2] + [None] * 3


@pytest.mark.parametrize("keys", [[], [""], ["good", " "]])
def test_keys_that_were_asked_for_and_let_anybody_in_are_refused(keys):
    with pytest.raises(KeysError, match="anybody"):
        Keys.of(Settings(api_keys=keys))
    assert Keys.of(Settings()).hashes == []


@pytest.mark.parametrize("text", ["", "\n  \n", "# none\n  # yet\n"])
def test_a_file_without_keys_is_refused(tmp_path, text):
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(KeysError, match="no key"):
        create_app(Settings(api_keys_file=path))
    with pytest.raises(KeysError, match="cannot be read"):
        create_app(Settings(api_keys_file=tmp_path / "missing"))


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["-h"], 0), (["--port", "1"], 2), (["serve"], 2)])
def test_the_frontend_takes_no_arguments_and_says_what_it_takes(words, code, capsys):
    assert usage(words) == code
    said = capsys.readouterr()
    assert ("ASR_TRITON_URL" in said.out) == (code == 0)
    assert "all settings are variables" in said.out + said.err
