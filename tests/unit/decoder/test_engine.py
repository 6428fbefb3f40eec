import random
import threading
import time

import pytest

from tests.unit.decoder import engine_kit as kit

pytestmark = pytest.mark.usefixtures("way")

SHAPES = [(seed, 3 + seed * 13 % 90) for seed in range(24)]


@pytest.fixture(scope="module")
def alone(way):
    """Every sequence's tokens when it runs by itself."""
    made = kit.make_engine()
    tokens = {seed: kit.run(made, [kit.make_sequence(seed, num)])[0] for seed, num in SHAPES}
    made.stop()
    assert len({tuple(t) for t in tokens.values()}) > 20, "the network must tell prompts apart"
    return tokens


@pytest.mark.parametrize(
    "limits",
    [
        {"max_running": 24},
        {"max_running": 3},
        {"max_running": 24, "max_step_tokens": 16},
        {"max_running": 24, "tokens": 300},
    ],
)
def test_batching_changes_no_answer(alone, limits):
    made = kit.make_engine(**limits)
    tokens = kit.run(made, [kit.make_sequence(seed, num) for seed, num in SHAPES])
    assert tokens == [alone[seed] for seed, _ in SHAPES]
    assert made.cache.extents.num_free == made.cache.extents.capacity
    made.stop()


def test_an_urgent_request_takes_the_slot_of_bulk_which_resumes(alone):
    made = kit.make_engine(max_running=2)
    bulk = [kit.make_sequence(seed, num, priority=3) for seed, num in SHAPES[:6]]
    for one in bulk:
        made.submit(one)
    while not bulk[0].listener.ids:
        time.sleep(0.001)
    urgent = kit.make_sequence(20, SHAPES[20][1], priority=1)
    made.submit(urgent)
    assert urgent.listener.done.wait(30)
    assert sum(one.listener.done.is_set() for one in bulk) < 6
    assert urgent.listener.ids == alone[20]
    assert all(one.listener.done.wait(30) for one in bulk)
    assert [one.listener.ids for one in bulk] == [alone[seed] for seed, _ in SHAPES[:6]]
    made.stop()


def test_what_is_set_aside_for_a_place_is_not_computed_again(alone):
    made = kit.make_engine(max_running=1)
    bulk = kit.make_sequence(1, 60, max_new_tokens=24, priority=3)
    made.submit(bulk)
    while not bulk.listener.ids:
        time.sleep(0.0005)
    urgent = [kit.make_sequence(seed, SHAPES[seed][1], priority=1) for seed in (2, 3)]
    assert kit.run(made, urgent) == [alone[2], alone[3]]
    assert bulk.listener.done.wait(30)
    made.stop()
    # Every token was computed once, but for the last of an answer that was cut off.
    everything = [bulk, *urgent]
    ended = sum(one.listener.finished.finish_reason == "length" for one in everything)
    assert made.stats.computed_tokens == sum(one.num_tokens for one in everything) - ended


def test_waiting_sequences_run_by_priority_then_age():
    made = kit.make_engine(max_running=1)
    blocker = kit.make_sequence(0, max_new_tokens=200)
    order = []
    waiting = []
    for seed, priority in [(1, 3), (2, 2), (3, 1), (4, 2), (5, 3), (6, 1)]:
        one = kit.make_sequence(seed, max_new_tokens=2, priority=max(priority, 2))
        one.priority = priority
        one.listener.on_finish = lambda finished, seed=seed, one=one: (order.append(seed), one.listener.done.set())
        waiting.append(one)
    blocker.priority = 1
    made.submit(blocker)
    for one in waiting:
        made.submit(one)
    assert all(one.listener.done.wait(30) for one in waiting)
    assert order == [3, 6, 2, 4, 1, 5]
    made.stop()


def test_bulk_does_not_starve():
    made = kit.make_engine(max_running=1, aging_s=0.05)
    bulk = kit.make_sequence(0, max_new_tokens=4, priority=3)
    stop = threading.Event()

    def flood():
        seed = 100
        while not stop.is_set():
            made.submit(kit.make_sequence(seed, max_new_tokens=4, priority=1))
            seed += 1
            time.sleep(0.0005)

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        time.sleep(0.05)
        made.submit(bulk)
        assert bulk.listener.done.wait(20)
    finally:
        stop.set()
        flooding.join()
        made.stop()


def test_a_crowd_of_old_bulk_does_not_stand_before_live():
    made = kit.make_engine(max_running=2, aging_s=0.001)
    bulk = [kit.make_sequence(seed, max_new_tokens=150, priority=3, min_new_tokens=150) for seed in range(20)]
    for one in bulk:
        made.submit(one)
    time.sleep(0.05)
    for seed in range(5):
        live = kit.make_sequence(30 + seed, max_new_tokens=3, priority=1)
        done_before = sum(one.listener.done.is_set() for one in bulk)
        made.submit(live)
        assert live.listener.done.wait(30)
        assert sum(one.listener.done.is_set() for one in bulk) - done_before <= 2
    assert all(one.listener.done.wait(60) for one in bulk)
    made.stop()


def test_cancelled_sequences_free_their_place():
    made = kit.make_engine(max_running=1)
    leaver = kit.make_sequence(1, max_new_tokens=500, listener=kit.Collector(cancel_after=3))
    follower = kit.make_sequence(2, max_new_tokens=3)
    kit.run(made, [leaver, follower])
    assert leaver.listener.finished.finish_reason == "cancelled"
    assert len(leaver.listener.ids) == 3
    assert made.cache.extents.num_free == made.cache.extents.capacity
    made.stop()


def test_a_failing_step_answers_everybody_in_it_and_the_engine_goes_on(alone):
    made = kit.make_engine()
    forward = made.network.forward
    calls = []

    def broken(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("boom")
        return forward(*arguments)

    made.network.forward = broken
    victim = kit.make_sequence(1)
    made.submit(victim)
    assert victim.listener.done.wait(30)
    assert "boom" in victim.listener.error
    assert kit.run(made, [kit.make_sequence(2, SHAPES[2][1])])[0] == alone[2]
    made.stop()


@pytest.mark.parametrize("dead", [True, False], ids=["the device is dead", "every step fails"])
def test_an_engine_that_cannot_compute_any_more_tells_everybody_and_says_so(dead):
    made = kit.make_engine(max_running=1)
    broken = threading.Event()
    made.on_broken = broken.set
    answers = []

    def fails(*arguments):
        answers.append(1)
        raise RuntimeError("boom")

    made.network.forward = fails
    if dead:
        # A tensor without storage cannot be read, as any on a GPU whose context is broken.
        made._faults = kit.engine.Faults(made.network.embedding.to("meta"))
    sequences = [kit.make_sequence(seed) for seed in range(20)]
    for sequence in sequences:
        made.submit(sequence)
    assert broken.wait(30)
    assert all(sequence.listener.ends == 1 for sequence in sequences)
    assert len(answers) == (1 if dead else 10)
    assert "started again" in sequences[-1].listener.error
    with pytest.raises(kit.engine.EngineStopped, match="is not ready"):
        made.submit(kit.make_sequence(21))


def test_a_failing_scheduler_answers_everybody_and_the_engine_begins_anew(alone):
    made = kit.make_engine()
    running = kit.make_sequence(1, max_new_tokens=2000)
    made.submit(running)
    while not running.listener.ids:
        time.sleep(0.001)

    def broken():
        raise RuntimeError("boom")

    made.scheduler.schedule = broken
    assert running.listener.done.wait(30)
    assert "boom" in running.listener.error
    assert kit.run(made, [kit.make_sequence(2, SHAPES[2][1])])[0] == alone[2]
    assert made.cache.extents.num_free == made.cache.extents.capacity
    made.stop()


def test_what_can_never_fit_is_refused_at_once():
    made = kit.make_engine(tokens=64)
    with pytest.raises(ValueError, match="tokens of KV cache"):
        made.submit(kit.make_sequence(1, num_audio=100))
    made.stop()


def test_a_full_room_refuses_its_level_at_once_and_no_other():
    made = kit.make_engine(max_running=1, places=kit.waiting_room.WaitingRoom({2: 1, 3: 0}, {}, 1))
    sequences = [kit.make_sequence(seed, max_new_tokens=300) for seed in (1, 2)]
    for sequence in sequences:
        made.submit(sequence)
    with pytest.raises(kit.waiting_room.RoomFull, match="UNAVAILABLE: 2 requests of priority 2 are here: try again"):
        made.submit(kit.make_sequence(3))
    live = kit.make_sequence(4, max_new_tokens=5, priority=1)
    made.submit(live)
    for sequence in (live, *sequences):
        assert sequence.listener.done.wait(30)
        assert sequence.listener.error is None
    assert kit.run(made, [kit.make_sequence(5, max_new_tokens=1)])[0]
    made.stop()


def test_who_waits_too_long_is_refused_and_who_runs_is_not():
    made = kit.make_engine(max_running=1, places=kit.waiting_room.WaitingRoom({}, {2: 0.05, 3: 60.0}, 1))
    running = kit.make_sequence(1, max_new_tokens=1_500)
    made.submit(running)
    while not running.listener.ids:
        time.sleep(0.001)
    late, patient = kit.make_sequence(2), kit.make_sequence(3, max_new_tokens=2, priority=3)
    for sequence in (late, patient):
        made.submit(sequence)
    assert late.listener.done.wait(30)
    assert late.listener.error == ("UNAVAILABLE: no place within 0.05 s for a request of priority 2: try again later")
    for sequence in (running, patient):
        assert sequence.listener.done.wait(60)
        assert sequence.listener.error is None
    assert made.cache.extents.num_free == made.cache.extents.capacity
    made.stop()


def test_temperature_draws_by_seed_whatever_the_batch():
    made = kit.make_engine()
    first = kit.run(made, [kit.make_sequence(7, temperature=1.0)])[0]
    again = kit.run(made, [kit.make_sequence(s, temperature=1.0) for s in (5, 6, 7, 8)])[2]
    greedy = kit.run(made, [kit.make_sequence(7)])[0]
    assert first == again != greedy
    made.stop()


def test_logprobs_are_those_of_the_tokens():
    made = kit.make_engine()
    one = kit.make_sequence(3)
    kit.run(made, [one])
    assert len(one.listener.logprobs) == len(one.listener.ids)
    assert all(value <= 0 for value in one.listener.logprobs)
    made.stop()


def test_many_random_requests_leave_nothing_behind(alone):
    rng = random.Random(0)
    made = kit.make_engine(tokens=700, max_running=5, max_step_tokens=24)
    sequences = []
    for _ in range(300):
        seed, num = rng.choice(SHAPES)
        listener = kit.Collector(cancel_after=rng.choice([None, None, 0, 1, 5]))
        sequences.append((seed, kit.make_sequence(seed, num, priority=rng.choice([1, 2, 3]), listener=listener)))
    for _, one in sequences:
        made.submit(one)
    for seed, one in sequences:
        assert one.listener.done.wait(60)
        assert one.listener.ends == 1
        assert one.listener.ids == alone[seed][: len(one.listener.ids)]
        if one.listener.finished.finish_reason != "cancelled":
            assert one.listener.ids == alone[seed]
    assert made.cache.extents.num_free == made.cache.extents.capacity
    made.stop()
