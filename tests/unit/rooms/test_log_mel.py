import numpy as np
import pytest
from transformers import WhisperFeatureExtractor

from export.rooms import room

log_mel = room("features", "log_mel").log_mel
blocks = room("features", "blocks")


@pytest.mark.parametrize("num_samples", [8_000, 8_159, 16_001, 40_037, 128_040, 320_199])
def test_equals_whisper_after_its_clamp(num_samples):
    rng = np.random.default_rng(num_samples)
    pcm = (rng.standard_normal(num_samples) * rng.uniform(0.01, 0.3)).astype(np.float32)
    whisper = WhisperFeatureExtractor(feature_size=128)
    expected = whisper(pcm, sampling_rate=16_000, padding=False, truncation=False, return_tensors="np").input_features[
        0
    ]
    mel = log_mel(pcm)
    assert mel.shape == (128, num_samples // 160)
    np.testing.assert_allclose((np.maximum(mel, mel.max() - 8) + 4) / 4, expected, atol=5e-5)


def test_a_frame_depends_on_nothing_past_its_window():
    rng = np.random.default_rng(0)
    pcm = rng.standard_normal(200_000).astype(np.float32)
    # A block of 800 frames is full 200 samples past its end: what comes later does not change it.
    assert np.array_equal(log_mel(pcm)[:, :800], log_mel(pcm[: 128_000 + 200])[:, :800])


def test_refuses_a_clip_too_short_to_reflect():
    with pytest.raises(ValueError, match="too short"):
        log_mel(np.zeros(200, dtype=np.float32))


@pytest.mark.parametrize(("num_samples", "frames"), [(1, [50]), (7_999, [50]), (128_000, [800]), (128_160, [800, 1])])
def test_blocks_hold_every_frame(num_samples, frames):
    pcm = np.random.default_rng(1).standard_normal(num_samples).astype(np.float32)
    made = blocks.blocks_of(pcm, max_blocks=64)
    assert made.frames[:, 0].tolist() == frames
    assert made.mel.shape == (len(frames), 128, 800)
    assert np.unique(made.clip_max).size == 1
    valid = np.concatenate([mel[:, :count] for mel, count in zip(made.mel, made.frames[:, 0], strict=True)], axis=1)
    assert valid.max() == made.clip_max[0, 0]


def test_no_speech_is_one_block_without_frames():
    made = blocks.blocks_of(np.zeros(0, dtype=np.float32), max_blocks=64)
    assert made.frames.tolist() == [[0]]
    assert np.isfinite(made.mel).all()


def test_too_long_a_clip_is_refused_with_its_length():
    with pytest.raises(ValueError, match=r"24\.0 s of speech; 16 s are the most"):
        blocks.blocks_of(np.zeros(24 * 16_000, dtype=np.float32), max_blocks=2)


def test_speech_is_what_the_spans_say():
    pcm = np.arange(100, dtype=np.float32)
    assert blocks.speech_of(pcm, np.array([[2, 4], [10, 12]], dtype=np.int32)).tolist() == [2, 3, 10, 11]
    assert blocks.speech_of(pcm, np.zeros((0, 2), dtype=np.int32)).size == 0


@pytest.mark.parametrize("spans", [[[0, 101]], [[-1, 5]], [[5, 5]], [[7, 3]], [[0, 10], [5, 20]]])
def test_bad_spans_are_refused(spans):
    with pytest.raises(ValueError, match="SPEECH must be ordered spans"):
        blocks.speech_of(np.zeros(100, dtype=np.float32), np.array(spans, dtype=np.int32))


@pytest.mark.parametrize("num_samples", [128_000, 128_160, 200_001, 256_199, 400_000])
@pytest.mark.parametrize("first_frame", [2, 3, 799, 800, 801, 1_234])
def test_later_frames_with_what_came_before_are_those_of_the_whole_clip(num_samples, first_frame):
    pcm = (0.1 * np.random.default_rng(0).standard_normal(num_samples)).astype(np.float32)
    whole = log_mel(pcm)
    start = first_frame * 160 - 320
    if num_samples - start < 480:
        with pytest.raises(ValueError, match="PCM holds no frame"):
            blocks.blocks_of(pcm[start:], max_blocks=64, left_context=320)
        return
    made = blocks.blocks_of(pcm[start:], max_blocks=64, left_context=320)
    joined = np.concatenate([m[:, :n] for m, n in zip(made.mel, made.frames[:, 0], strict=True)], axis=1)
    assert np.array_equal(joined, whole[:, first_frame:])
    assert made.clip_max.max() == whole[:, first_frame:].max()


@pytest.mark.parametrize("context", [160, 321])
def test_useless_context_is_refused(context):
    with pytest.raises(ValueError, match="left_context must be a multiple of 160"):
        blocks.blocks_of(np.zeros(8_000, dtype=np.float32), max_blocks=2, left_context=context)
