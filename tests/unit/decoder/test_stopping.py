"""A decoder that stops: everybody has an answer, and nobody's request is left in a queue that is not read any more."""

import time

import pytest

from tests.unit.decoder import engine_kit as kit

pytestmark = pytest.mark.usefixtures("way")


def test_stopping_answers_what_is_running():
    made = kit.make_engine()
    running = kit.make_sequence(1, max_new_tokens=3000)
    made.submit(running)
    while not running.listener.ids:
        time.sleep(0.001)
    made.stop()
    assert running.listener.error == "the decoder is stopping"
    with pytest.raises(kit.engine.EngineStopped):
        made.submit(kit.make_sequence(2))


def test_stopping_answers_what_was_submitted_and_not_yet_seen():
    made = kit.make_engine()
    made._turn = lambda: time.sleep(0.01)
    made._arrivals.wake()
    time.sleep(0.05)
    unseen = kit.make_sequence(1)
    made.submit(unseen)
    made.stop()
    assert unseen.listener.error == "the decoder is stopping"


def test_a_request_between_the_check_and_the_queue_is_refused_and_leaves_its_place(monkeypatch):
    made = kit.make_engine(places=kit.waiting_room.WaitingRoom({2: 0}, {}, 1))
    enter = kit.stop_as_it_submits(made, monkeypatch)
    with pytest.raises(kit.engine.EngineStopped, match="the decoder is stopping"):
        made.submit(kit.make_sequence(1))
    enter(2)


def test_what_is_closed_hands_over_what_came_before_and_takes_nothing_more():
    arrivals, taken = kit.arrivals.Arrivals(), []
    first, late = kit.make_sequence(1), kit.make_sequence(2)

    def take_in(sequence):
        taken.append(sequence)
        with pytest.raises(kit.arrivals.EngineStopped, match="over"):
            arrivals.put(late)

    arrivals.put(first)
    arrivals.close("over", take_in)
    arrivals.take(taken.append, wait=False)
    assert taken == [first]
