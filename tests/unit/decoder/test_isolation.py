"""What one request asks for, at its extremes, is its own: the others of its batch have their answers."""

import time

import pytest

from tests.unit.decoder import engine_kit as kit

pytestmark = pytest.mark.usefixtures("way")

SHAPES = [(seed, 3 + seed * 13 % 90) for seed in range(8)]


@pytest.fixture(scope="module")
def alone(way):
    """Every sequence's tokens when it runs by itself."""
    made = kit.make_engine()
    tokens = {seed: kit.run(made, [kit.make_sequence(seed, num)])[0] for seed, num in SHAPES}
    made.stop()
    return tokens


def test_a_temperature_near_zero_is_greedy(alone):
    made = kit.make_engine()
    seed, num = SHAPES[3]
    for temperature in (1e-40, 5e-324, 1e-9):
        assert kit.run(made, [kit.make_sequence(seed, num, temperature=temperature)])[0] == alone[seed]
    made.stop()


def test_what_goes_wrong_with_one_request_is_its_own(alone):
    """A request whose embeddings make the network overflow, and one whose listener fails, in a batch with others."""
    made = kit.make_engine(max_running=24)
    sequences = [kit.make_sequence(seed, num) for seed, num in SHAPES]
    sequences[2].prompt.audio.fill_(float("nan"))

    def fail(*_):
        raise RuntimeError("nobody listens")

    sequences[5].listener.on_tokens = fail
    for one in sequences:
        made.submit(one)
    assert all(one.listener.done.wait(30) for one in sequences)
    for number, (one, (seed, _)) in enumerate(zip(sequences, SHAPES, strict=False)):
        if number in (2, 5):
            assert one.listener.error is not None
        else:
            assert one.listener.ids == alone[seed]
    assert made.cache.extents.num_free == made.cache.extents.capacity
    made.stop()


def test_a_name_that_was_cancelled_long_ago_is_free_again(alone, monkeypatch):
    made = kit.make_engine()
    seed, num = SHAPES[1]
    monkeypatch.setattr(kit.arrivals, "CANCEL_REMEMBERED_S", 0.0)
    made.cancel(str(seed))
    time.sleep(0.02)
    one = kit.make_sequence(seed, num)
    assert kit.run(made, [one])[0] == alone[seed]
    made.stop()
