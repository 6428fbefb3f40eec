import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.rooms import MODEL_REPOSITORY, room

silero = room("vad", "silero")
spans = room("vad", "spans")
SpanRules, speech_spans = room("vad", "parameters").Parameters, spans.speech_spans


@pytest.fixture(scope="module")
def network():
    return silero.Silero(MODEL_REPOSITORY / "vad" / "1" / "silero_vad.onnx")


def probabilities(text: str) -> np.ndarray:
    """ "#" is speech, "." is none; one window each."""
    return np.array([0.9 if c == "#" else 0.05 for c in text], dtype=np.float32)


BARE = SpanRules(min_speech_ms=0, min_silence_ms=0, speech_pad_ms=0)


def test_a_long_clip_is_judged_in_runs_of_bounded_memory_as_in_one(network, monkeypatch):
    pcm = (0.1 * np.random.default_rng(0).standard_normal(70 * 512)).astype(np.float32)
    one, state = network.probabilities(pcm, silero.initial_state(), whole=True)
    longest = []
    run = network._session.run
    monkeypatch.setattr(silero, "WINDOWS_PER_RUN", 16)

    class Session:
        def run(self, names, feeds):
            longest.append(len(feeds["input"]))
            return run(names, feeds)

    monkeypatch.setattr(network, "_session", Session())
    parts, carried = network.probabilities(pcm, silero.initial_state(), whole=True)
    assert max(longest) == 16
    np.testing.assert_allclose(parts, one, atol=1e-6)
    np.testing.assert_allclose(carried, state, atol=1e-6)


def test_runs_become_spans():
    assert speech_spans(probabilities("..##..#."), 8 * 512, BARE).tolist() == [[1024, 2048], [3072, 3584]]


def test_short_speech_is_dropped_and_short_silence_joined():
    rules = SpanRules(min_speech_ms=64, min_silence_ms=100, speech_pad_ms=0)
    assert speech_spans(probabilities("#....##..##"), 11 * 512, rules).tolist() == [[5 * 512, 11 * 512]]


def test_padding_stays_inside_the_clip_and_never_overlaps():
    rules = SpanRules(min_speech_ms=0, min_silence_ms=0, speech_pad_ms=400)
    assert speech_spans(probabilities("#..#"), 4 * 512, rules).tolist() == [[0, 1024], [1024, 2048]]


def test_hysteresis_keeps_a_dip():
    dip = np.array([0.9, 0.4, 0.9, 0.2], dtype=np.float32)
    assert speech_spans(dip, 4 * 512, BARE).tolist() == [[0, 1536]]


def test_nothing_is_no_span():
    assert speech_spans(probabilities("...."), 2048, SpanRules()).shape == (0, 2)


@pytest.mark.parametrize("bad", [{"threshold": 0.0}, {"threshold": 1.0}, {"min_silence_ms": -1}])
def test_bad_rules_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        SpanRules(**bad)


@given(
    st.lists(st.floats(0, 1, width=32), max_size=80),
    st.integers(0, 500),
    st.integers(0, 500),
    st.integers(0, 500),
)
def test_spans_are_ordered_and_inside(values, speech_ms, silence_ms, pad_ms):
    num_samples = max(1, len(values) * 512 - 100)
    rules = SpanRules(min_speech_ms=speech_ms, min_silence_ms=silence_ms, speech_pad_ms=pad_ms)
    found = speech_spans(np.array(values, dtype=np.float32), num_samples, rules)
    edges = found.ravel()
    assert (np.diff(edges) >= 0).all()
    assert edges.size == 0 or (edges[0] >= 0 and edges[-1] <= num_samples)
    assert (found[:, 1] > found[:, 0]).all()


def test_finds_the_speech_of_a_recording(network, english):
    values, _ = network.probabilities(english, silero.initial_state(), whole=True)
    found = speech_spans(values, english.size, SpanRules())
    assert len(found) == 1
    assert found[0, 0] <= 8_000 < english.size - 8_000 <= found[0, 1]


@pytest.mark.parametrize("level", [0.0, 0.01])
def test_finds_nothing_in_silence_and_noise(network, level):
    noise = (np.random.default_rng(0).standard_normal(160_000) * level).astype(np.float32)
    values, _ = network.probabilities(noise, silero.initial_state(), whole=True)
    assert speech_spans(values, noise.size, SpanRules()).size == 0


@given(st.lists(st.integers(0, 3000), max_size=12))
def test_a_stream_in_pieces_equals_the_whole(network, english, sizes):
    state = silero.initial_state()
    whole, _ = network.probabilities(english[:16_000], state, whole=False)
    pieces, position = [], 0
    for size in [*sizes, 16_000]:
        part = english[position : min(position + size, 16_000)]
        position += part.size
        values, state = network.probabilities(part, state, whole=False)
        pieces.append(values)
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-5)
