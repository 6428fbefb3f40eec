"""Loops end early and stay short; real repetitions are left alone."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.rooms import room
from tests.unit.decoder import engine_kit as kit

guard_room = room("decoder", "text.repetition")
SECOND = 13


def watch(ids, seconds):
    """What is shown after each token, and whether the answer was taken for a loop."""
    guard = guard_room.RepetitionGuard(round(seconds * SECOND))
    shown = []
    for count, token in enumerate(ids, 1):
        looped = guard.push(token)
        shown.append(ids[: count - guard.num_held])
        if looped:
            return shown, True
    return shown, False


@pytest.mark.parametrize("pattern", [[7], [7, 8], [1, 2, 3, 4, 5], list(range(16))])
def test_a_loop_is_cut_to_three_copies(pattern):
    shown, looped = watch([50, 51, *pattern * 400], seconds=4)
    assert looped
    assert shown[-1] == [50, 51, *pattern * 3]
    assert len(shown) <= 2 + max(20 * len(pattern), 33)


def test_a_spoken_repetition_stays():
    # "one" thirty times in ten seconds, and a phrase of three tokens twenty-five times in a minute.
    for ids, seconds in (([4] * 30 + [9], 10), ([4, 5, 6] * 25 + [9], 60)):
        shown, looped = watch(ids, seconds)
        assert not looped
        assert shown[-1] == ids


def test_a_long_loop_needs_to_be_longer_than_the_audio():
    assert not watch([4] * 79, seconds=10)[1]
    assert watch([4] * 82, seconds=10)[1]


@given(st.lists(st.integers(0, 2), max_size=120))
def test_what_was_shown_is_never_taken_back(ids):
    shown, _ = watch(ids, seconds=1)
    for earlier, later in itertools.pairwise(shown):
        assert later[: len(earlier)] == earlier


def test_the_engine_ends_a_loop_and_says_so():
    """The random network loops by itself; the same tokens come with and without a draft."""
    made = kit.make_engine(end_ids=())
    looped = []
    for seed in range(12):
        free = kit.make_sequence(seed, 13, max_new_tokens=200)
        watched = kit.make_sequence(seed, 13, max_new_tokens=200, repetition_guard=True)
        kit.run(made, [free, watched])
        drafted = kit.make_sequence(seed, 13, max_new_tokens=200, repetition_guard=True, draft=free.listener.ids)
        kit.run(made, [drafted])
        assert drafted.listener.ids == watched.listener.ids == free.listener.ids[: len(watched.listener.ids)]
        assert len(watched.listener.ids) == len(watched.output_ids) == len(watched.listener.logprobs)
        if watched.finish_reason == "repetition":
            looped.append(len(watched.output_ids))
        else:
            assert watched.finish_reason == "length"
    assert len(looped) >= 3
    assert max(looped) < 120
    made.stop()
