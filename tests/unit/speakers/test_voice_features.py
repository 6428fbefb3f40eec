"""What speaker encoders hear, beside the libraries that they were trained with."""

import kaldi_native_fbank
import numpy as np
import pytest

from export.rooms import room

voice_features, log_mel = room("speakers", "voice_features"), room("features", "log_mel")


@pytest.fixture(scope="module")
def noise():
    return (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)


def test_filter_banks_are_kaldis(noise):
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.window_type = "hamming"
    options.mel_opts.num_bins = 80
    reference = kaldi_native_fbank.OnlineFbank(options)
    reference.accept_waveform(16_000, (noise * 32_768).tolist())
    reference.input_finished()
    expected = np.stack([reference.get_frame(index) for index in range(reference.num_frames_ready)])
    np.testing.assert_allclose(voice_features.features(noise, "kaldi_fbank", 80), expected, atol=1e-3)


def test_mel_power_is_what_the_room_features_takes_the_logarithm_of(noise):
    """The same filters and windows as Whisper's; the ends differ, where one reflects and the other is silent."""
    expected = 10 ** log_mel.log_mel(noise).T
    found = voice_features.features(noise, "mel_power", 128)
    assert len(found) == 1 + noise.size // 160
    np.testing.assert_allclose(found[2:98], expected[2:98], rtol=2e-3)


@pytest.mark.parametrize("kind", ["mel_power", "kaldi_fbank"])
@pytest.mark.parametrize("samples", [1, 159, 160, 399, 400, 401])
def test_the_shortest_sound_has_a_frame(kind, samples):
    found = voice_features.features(np.ones(samples, dtype=np.float32), kind, 40)
    assert found.shape[0] >= 1
    assert np.isfinite(found).all()


def test_levels_are_mean_squares_of_frames():
    pcm = np.repeat(np.array([0.5, 0.1], dtype=np.float32), 160)
    np.testing.assert_allclose(voice_features.levels(pcm, 3), [0.25, 0.01, 0.0], rtol=1e-5)
