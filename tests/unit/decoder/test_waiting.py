"""Who waits in the decoder: order, places, patience."""

import random

import pytest

from export.rooms import room
from tests.unit.decoder import engine_kit as kit

waiting_line = room("decoder", "engine.waiting_line")


@pytest.mark.parametrize("seed", range(5))
def test_the_line_is_in_order_of_priority_and_arrival_whatever_comes_and_goes(seed):
    rng = random.Random(seed)
    line, known = waiting_line.WaitingLine(), []
    for _ in range(200):
        if known and rng.random() < 0.4:
            gone = known.pop(rng.randrange(len(known)))
            line.remove(gone)
            assert gone not in line
        else:
            known.append(kit.make_sequence(1, num_audio=1, priority=rng.choice([1, 2, 3])))
            line.add(known[-1])
        ordered = sorted(known, key=lambda one: (one.priority, one.number))
        assert [one.number for one in line] == [one.number for one in ordered]
        assert line.first(2) == ordered[:2]
        assert all(one in line for one in known)
        for priority in (1, 2, 3):
            assert line.oldest(priority) is next((one for one in ordered if one.priority == priority), None)
    with pytest.raises(ValueError, match="does not wait"):
        line.remove(kit.make_sequence(1))


def test_a_place_is_free_again_when_its_holder_leaves():
    places = kit.waiting_room.WaitingRoom({1: 0, 2: 1}, {}, max_running=1)
    places.enter(1)
    with pytest.raises(kit.waiting_room.RoomFull, match="1 requests of priority 1"):
        places.enter(1)
    places.enter(2)
    places.enter(2)
    with pytest.raises(kit.waiting_room.RoomFull):
        places.enter(2)
    for _ in range(100):
        places.enter(3)
    places.leave(1)
    places.enter(1)


def test_only_who_has_never_run_can_be_too_late():
    places = kit.waiting_room.WaitingRoom({}, {2: 5.0}, max_running=1)
    waits, bulk = kit.make_sequence(1), kit.make_sequence(2, priority=3)
    arrived = waits.timings.arrived
    assert places.refuse_late(waits, arrived + 4.9) is None
    assert "no place within 5 s" in places.refuse_late(waits, arrived + 5.1)
    assert places.num_refused == 1
    waits.timings.started = arrived + 1
    assert places.refuse_late(waits, arrived + 100) is None
    assert places.refuse_late(bulk, arrived + 10_000) is None
