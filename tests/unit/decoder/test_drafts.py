"""A draft never changes an answer; it only makes it cheaper."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.decoder import engine_kit as kit

pytestmark = pytest.mark.usefixtures("way")

SEEDS = [1, 2, 3, 4]


@pytest.fixture(scope="module")
def plain(way):
    made = kit.make_engine()
    tokens = {seed: kit.run(made, [kit.make_sequence(seed)])[0] for seed in SEEDS}
    sampled = {seed: kit.run(made, [kit.make_sequence(seed, temperature=0.8)])[0] for seed in SEEDS}
    made.stop()
    return {0.0: tokens, 0.8: sampled}


def counted(made):
    """Count the steps and the rows of an engine."""
    forward, calls = made.network.forward, []
    made.network.forward = lambda rows, spans, cache: (calls.append(rows.shape[0]), forward(rows, spans, cache))[1]
    return calls


def test_a_right_draft_is_one_pass(plain):
    made = kit.make_engine()
    steps = counted(made)
    one = kit.make_sequence(1, draft=plain[0.0][1])
    assert kit.run(made, [one])[0] == plain[0.0][1]
    assert len(steps) == 1
    assert one.num_accepted == one.num_drafted == len(plain[0.0][1]) or one.listener.finished.finish_reason == "length"
    made.stop()


def test_a_wrong_draft_costs_one_pass_and_nothing_else(plain):
    made = kit.make_engine()
    steps = counted(made)
    wrong = [(token + 1) % 90 for token in plain[0.0][2]]
    assert kit.run(made, [kit.make_sequence(2, draft=wrong)])[0] == plain[0.0][2]
    assert len(steps) in (len(plain[0.0][2]), len(plain[0.0][2]) + 1)
    made.stop()


@pytest.mark.parametrize("max_step_tokens", [4, 7, 33])
def test_a_draft_longer_than_a_step_is_verified_in_parts(plain, max_step_tokens):
    made = kit.make_engine(max_step_tokens=max_step_tokens)
    for seed in SEEDS:
        assert kit.run(made, [kit.make_sequence(seed, draft=plain[0.0][seed])])[0] == plain[0.0][seed]
    made.stop()


@settings(max_examples=60, deadline=None)
@given(
    requests=st.lists(
        st.tuples(
            st.sampled_from(SEEDS),
            st.sampled_from([0.0, 0.8]),
            st.integers(0, 30),
            st.lists(st.integers(0, 95), max_size=6),
            st.integers(1, 3),
        ),
        min_size=1,
        max_size=6,
    ),
    max_step_tokens=st.sampled_from([5, 16, 512]),
    max_running=st.sampled_from([1, 2, 6]),
)
def test_any_drafts_in_any_company_change_no_answer(plain, requests, max_step_tokens, max_running):
    made = kit.make_engine(max_step_tokens=max_step_tokens, max_running=max_running)
    sequences = []
    for seed, temperature, kept, noise, priority in requests:
        draft = plain[temperature][seed][:kept] + noise
        sequences.append(kit.make_sequence(seed, temperature=temperature, priority=priority, draft=draft))
    tokens = kit.run(made, sequences)
    assert tokens == [plain[temperature][seed] for seed, temperature, *_ in requests]
    assert made.cache.extents.num_free == made.cache.extents.capacity
    made.stop()


@pytest.mark.parametrize(("draft_seed", "accepted"), [(0, 0.95), (1, 0.0)])
@pytest.mark.parametrize(
    "limits", [{}, {"max_running": 2, "tokens": 200}, {"max_step_tokens": 8}, {"max_running": 3, "max_step_tokens": 24}]
)
def test_a_draft_network_changes_no_answer(draft_seed, accepted, limits):
    """One of the same weights foresees everything; one of other weights costs time alone."""
    quiet = kit.make_engine()
    kinds = [(seed, 10 + 9 * seed) for seed in range(8)]
    plain = [kit.run(quiet, [kit.make_sequence(seed, length)])[0] for seed, length in kinds]
    quiet.stop()
    made = kit.make_engine(draft_seed=draft_seed, **limits)
    sequences = [
        kit.make_sequence(seed, length, priority=1 + seed % 3, drafted=seed != 5) for seed, length in kinds * 2
    ]
    assert kit.run(made, sequences) == plain * 2
    assert sequences[5].num_drafted == 0
    drafted = sum(one.num_drafted for one in sequences)
    assert drafted > 0
    assert sum(one.num_accepted for one in sequences) >= accepted * drafted
    assert made.cache.extents.num_free == made.cache.extents.capacity
    made.stop()
