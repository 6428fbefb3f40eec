"""Ten thousand requests of every kind at once: all answered, all equal to plain ones, nothing left behind."""

import gc
import random

import psutil
import pytest

from tests.unit.decoder import engine_kit as kit

pytestmark = pytest.mark.usefixtures("way")

Request = kit.sessions.SessionRequest
BLOCK = 8
KINDS = [(seed, 10 + 7 * seed) for seed in range(12)]
COUNT, AT_A_TIME = 10_000, 50


def random_request(rng, plain, number):
    """A request of any priority, with or without a draft, a session and a client that leaves."""
    seed, length = rng.choice(KINDS)
    draft = plain[seed][: rng.randrange(25)] + [rng.randrange(95)] * rng.randrange(3) if rng.random() < 0.5 else ()
    session = Request(f"{number}", 0, length // BLOCK * BLOCK) if rng.random() < 0.3 else None
    leaves = rng.choice([0, 1, 7]) if rng.random() < 0.2 else None
    listener = kit.Collector(cancel_after=leaves)
    one = kit.make_sequence(
        seed,
        length,
        priority=rng.choice([1, 2, 3]),
        draft=draft,
        session=session,
        listener=listener,
        drafted=session is None and rng.random() < 0.5,
    )
    return seed, one


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_thousand_requests():
    rng = random.Random(0)
    quiet = kit.make_engine()
    plain = {seed: kit.run(quiet, [kit.make_sequence(seed, length)])[0] for seed, length in KINDS}
    quiet.stop()
    made = kit.make_engine(tokens=1_500, max_running=8, max_step_tokens=64, session_idle_s=0.2, draft_seed=3)
    process = psutil.Process()
    memory_mb = 0.0
    for number in range(0, COUNT, AT_A_TIME):
        batch = [random_request(rng, plain, number + i) for i in range(AT_A_TIME)]
        for _, one in batch:
            made.submit(one)
        for seed, one in batch:
            assert one.listener.done.wait(60)
            assert one.listener.ends == 1
            assert one.listener.ids == plain[seed][: len(one.listener.ids)]
            assert one.listener.finished.finish_reason == "cancelled" or one.listener.ids == plain[seed]
        # Those that were not cancelled may go on with their sessions.
        follow = [pair for pair in batch if pair[1].session and pair[1].listener.finished.finish_reason != "cancelled"]
        for seed, one in follow[:3]:
            request = Request(one.session.name, one.session.keep_rows, 0)
            again = kit.make_sequence(seed, dict(KINDS)[seed], session=request)
            kit.run(made, [again])
            assert again.listener.finished.finish_reason == "evicted" or again.listener.ids == plain[seed]
        # The listeners of these tests and their sequences know each other.
        gc.collect()
        if number == COUNT // 5:
            memory_mb = process.memory_info().rss / 1e6
    gc.collect()
    assert process.memory_info().rss / 1e6 < memory_mb + 30
    for name in list(made.scheduler.sessions._kept):
        made.end_session(name)
    kit.run(made, [kit.make_sequence(1, 17)])
    assert made.cache.extents.num_free == made.cache.extents.capacity
    made.stop()
