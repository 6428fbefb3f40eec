"""Times that never go backwards, as the checkpoint's processor mends them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.qwen3_asr.processing_qwen3_asr import _fix_timestamps

from export.rooms import room

mended = room("aligner", "mending").mended


@given(st.lists(st.integers(0, 12), min_size=1, max_size=24))
def test_few_classes_in_any_order_are_mended_as_the_processor_does(classes):
    times = [80.0 * one for one in classes]
    assert mended(times) == _fix_timestamps(np.array(times, dtype=np.float32))


@given(st.lists(st.integers(-7, 7), min_size=1, max_size=60), st.integers(1, 9))
def test_times_that_rise_but_for_some_are_mended_as_the_processor_does(shifts, every):
    times = [80.0 * max(0, place + (shift if place % every == 0 else 0)) for place, shift in enumerate(shifts)]
    found = mended(times)
    assert found == _fix_timestamps(np.array(times, dtype=np.float32))
    assert found == sorted(found)


@pytest.mark.parametrize("times", [[], [80.0], [160.0, 80.0]])
def test_next_to_nothing_is_mended_too(times):
    assert len(mended(times)) == len(times)


def test_an_hour_of_times_takes_no_time():
    rng = np.random.default_rng(0)
    times = (80.0 * np.maximum(0, np.arange(40_000) // 4 + rng.integers(-5, 6, 40_000))).tolist()
    found = mended(times)
    assert found == sorted(found)
