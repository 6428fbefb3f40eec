"""The pure parts of a live session: settings, endpointing, stable text, the buffer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.asr_stream import stream_kit as kit

MS = 16
WINDOW = 512


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"treshold": 0.5}, "unknown parameter 'treshold'; known are language, context"),
        ({"threshold": 2}, "threshold must lie between 0.05 and 0.95"),
        ({"threshold": "loud"}, "threshold must be a number"),
        ({"threshold": float("nan")}, "threshold must lie between"),
        ({"silence_ms": 600.5}, "silence_ms must be a number"),
        ({"max_utterance_s": 1e9}, "max_utterance_s must lie between 2 and 120"),
        ({"vad": "maybe"}, "vad must be on or off"),
        ({"debug": "perhaps"}, "debug must be true or false"),
        ({"language": 5}, "language must be text"),
    ],
)
def test_wrong_settings_are_refused_with_the_reason(parameters, message):
    with pytest.raises(ValueError, match=message):
        kit.Settings().changed(parameters)


def test_settings_come_as_numbers_or_text():
    settings = kit.Settings().changed({"silence_ms": "800", "threshold": "0.3", "debug": "true", "triton_x": 1})
    assert (settings.silence_ms, settings.threshold, settings.debug) == (800, 0.3, True)
    assert settings.changed({"command": "flush"}) is settings


def transitions(probabilities, **settings):
    endpointer = kit.endpointing.Endpointer()
    found = [endpointer.push(p, kit.Settings().changed(settings)) for p in probabilities]
    return [(one.kind, one.sample // WINDOW, index) for index, one in enumerate(found) if one is not None]


def test_speech_begins_after_enough_of_it_and_ends_after_enough_silence():
    # 96 ms are three windows, 640 ms twenty.
    heard = [0.0] * 5 + [0.9] * 10 + [0.0] * 30
    assert transitions(heard, silence_ms=640) == [("started", 5, 7), ("stopped", 15, 34)]


def test_a_click_is_no_speech():
    assert transitions([0.0] * 5 + [0.9] * 2 + [0.0] * 40) == []


def test_hysteresis_keeps_a_faint_syllable():
    heard = [0.9] * 5 + [0.4] * 30 + [0.9] * 5 + [0.0] * 19
    assert transitions(heard, silence_ms=608) == [("started", 0, 2), ("stopped", 40, 58)]


def test_a_pause_does_not_end_speech_that_goes_on():
    heard = [0.9] * 5 + [0.0] * 15 + [0.9] * 5 + [0.0] * 25
    assert transitions(heard, silence_ms=640) == [("started", 0, 2), ("stopped", 25, 44)]


@given(
    st.lists(st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.95]), min_size=1, max_size=60),
    st.sampled_from([64, 300, 600]),
    st.sampled_from([0, 100, 300, 900]),
)
def test_the_next_change_is_where_silence_says_something_new(heard, silence_ms, padding_ms):
    settings = kit.Settings().changed({"silence_ms": silence_ms, "prefix_padding_ms": padding_ms})
    endpointer = kit.endpointing.Endpointer()
    for probability in heard:
        endpointer.push(probability, settings)
    if not endpointer.speaking:
        return
    due, known = endpointer.next_change(settings), endpointer.end_if_silence_lasts(0, settings)
    is_pausing = endpointer.silence_start >= 0
    changes = []
    while not changes or endpointer.speaking:
        stopped = endpointer.push(0.0, settings)
        if stopped is not None or endpointer.end_if_silence_lasts(0, settings) != known:
            known = endpointer.end_if_silence_lasts(0, settings)
            changes.append(endpointer.position)
    if is_pausing or len(changes) == 1:
        assert due == changes[0]
    else:
        # Where the utterance will end is known before, and there is some time left to find its final.
        assert changes[0] <= due <= changes[1]
        assert due == changes[0] or changes[1] - due >= kit.endpointing.HEAD_START - WINDOW


@given(st.lists(st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.95]), max_size=200))
def test_starts_and_stops_alternate_and_go_forward(heard):
    found = transitions(heard, silence_ms=160)
    assert [kind for kind, _, _ in found] == ["started", "stopped"] * (len(found) // 2) + ["started"] * (len(found) % 2)
    places = [place for _, place, _ in found]
    assert places == sorted(places)


def test_a_long_utterance_is_cut_where_it_is_quiet():
    rng = np.random.default_rng(0)
    loud = (0.3 * rng.standard_normal(160_000)).astype(np.float32)
    loud[130_000:134_000] *= 0.01
    cut = kit.endpointing.quietest(loud)
    assert 130_000 <= cut - 800 <= cut + 800 <= 134_000
    # Early silence is not looked at: the utterance should not be short.
    loud[10_000:20_000] = 0
    assert kit.endpointing.quietest(loud) == cut


WORDS = st.lists(st.sampled_from(["one", "two", "three", "四", "五"]), max_size=8)


def spoken(words):
    text = ""
    for word in words:
        text += word if word in "四五" or not text else f" {word}"
    return text


@given(st.lists(WORDS, max_size=12), st.integers(1, 3))
def test_stable_text_only_grows_and_was_agreed_on(hypotheses, agreement):
    stable_text = kit.stable_text.StableText()
    before = ""
    for index, words in enumerate(hypotheses):
        text = spoken(words)
        assert "".join(kit.stable_text.units_of(text)) == text
        stable, unstable = stable_text.update(text, agreement)
        assert stable.startswith(before)
        if stable != before:
            assert all(spoken(one).startswith(stable) for one in hypotheses[index - agreement + 1 : index + 1])
        if text.startswith(stable):
            assert stable + unstable == text
        before = stable


def test_the_last_word_is_never_stable():
    stable_text = kit.stable_text.StableText()
    for _ in range(5):
        assert stable_text.update("twenty one", 2) in (("", "twenty one"), ("twenty", " one"))
    assert stable_text.stable == "twenty"


@given(st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 50_000)), max_size=20))
def test_the_buffer_gives_back_what_it_was_given(parts):
    buffer, everything = kit.pcm_buffer.PcmBuffer(), np.empty(0, dtype=np.float32)
    for size, drop in parts:
        pcm = np.arange(everything.size, everything.size + size, dtype=np.float32)
        everything = np.concatenate([everything, pcm])
        buffer.append(pcm)
        buffer.drop_before(drop)
        assert buffer.end == everything.size
        assert np.array_equal(buffer.read(buffer.start, buffer.end), everything[buffer.start :])
        assert buffer._data.size <= 16_000 + 2 * (buffer.end - buffer.start + 80_000)


def test_the_buffer_says_what_it_has_not():
    buffer = kit.pcm_buffer.PcmBuffer()
    buffer.append(np.zeros(100, dtype=np.float32))
    buffer.drop_before(50)
    for start, end in ((0, 60), (60, 101), (70, 60)):
        with pytest.raises(ValueError, match="are not within 50 and 100"):
            buffer.read(start, end)


def test_blocks_are_full_when_their_last_window_is():
    full = kit.utterance_room.num_full_blocks
    assert [full(n) for n in (0, 128_000, 128_199, 128_200, 256_199, 256_200)] == [0, 0, 0, 1, 1, 2]
