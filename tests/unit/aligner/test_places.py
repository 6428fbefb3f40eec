"""Times in joined spans of speech, as samples of the clip that they were cut from."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from export.rooms import room

in_clip = room("aligner", "places").in_clip


def test_without_spans_the_clip_is_one():
    assert in_clip(np.array([0, 5]), np.array([5, 90]), None, 50).tolist() == [[0, 5], [5, 50]]


def test_at_a_seam_a_word_begins_behind_it_and_ends_before_it():
    speech = np.array([[100, 200], [1_000, 1_300]], dtype=np.int32)
    starts, ends = np.array([0, 100, 100, 399]), np.array([100, 100, 250, 500])
    told = in_clip(starts, ends, speech, 400)
    assert told.tolist() == [[100, 200], [1_000, 1_000], [1_000, 1_150], [1_299, 1_300]]


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(1, 500)), min_size=1, max_size=6),
    st.lists(st.integers(0, 3_500), min_size=2, max_size=20),
)
def test_places_lie_in_spans_and_never_go_backwards(parts, times):
    edges = np.cumsum([value for part in parts for value in part])
    speech = edges.reshape(-1, 2).astype(np.int32)
    total = int((speech[:, 1] - speech[:, 0]).sum())
    times = sorted(times)[: len(times) // 2 * 2]
    told = in_clip(np.array(times[::2]), np.array(times[1::2]), speech, total)
    assert (told[:, 0] <= told[:, 1]).all()
    assert (np.diff(told[:, 0]) >= 0).all()
    for sample in told.ravel():
        assert any(first <= sample <= last for first, last in speech)
