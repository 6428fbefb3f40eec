"""What a session keeps makes a step cheaper and never changes its answer."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.decoder import engine_kit as kit

pytestmark = pytest.mark.usefixtures("way")

Request = kit.sessions.SessionRequest
BLOCK = 8
_plain = {}


def plain(seed, num_audio):
    """The answer of an engine that knows nothing of sessions."""
    asked = seed, num_audio, kit.IN_16_BITS
    if asked not in _plain:
        made = kit.make_engine()
        _plain[asked] = kit.run(made, [kit.make_sequence(seed, num_audio)])[0]
        made.stop()
    return _plain[asked]


def step(made, seed, num_audio, cached_rows, keep_rows, **options):
    one = kit.make_sequence(seed, num_audio, session=Request(f"s{seed}", cached_rows, keep_rows), **options)
    kit.run(made, [one])
    return one


def test_only_what_is_new_is_computed():
    made = kit.make_engine()
    first = step(made, 1, 30, 0, 3 * BLOCK)
    computed = []
    launch = made.runner.launch
    made.runner.launch = lambda step: (computed.append(step.num_rows), launch(step))[1]
    second = step(made, 1, 40, 3 * BLOCK, 4 * BLOCK)
    assert first.listener.ids == plain(1, 30)
    assert second.listener.ids == plain(1, 40)
    assert computed[0] == 40 - 3 * BLOCK + 3
    made.stop()


def test_an_unknown_session_is_asked_to_send_everything():
    made = kit.make_engine()
    one = step(made, 1, 30, 2 * BLOCK, 3 * BLOCK)
    assert one.listener.finished.finish_reason == "evicted"
    assert one.listener.ids == []
    assert step(made, 1, 30, 0, 3 * BLOCK).listener.ids == plain(1, 30)
    made.stop()


def test_another_prompt_is_another_session():
    made = kit.make_engine()
    step(made, 1, 30, 0, 3 * BLOCK)
    other = kit.make_sequence(2, 30, session=Request("s1", 2 * BLOCK, 3 * BLOCK))
    kit.run(made, [other])
    assert other.listener.finished.finish_reason == "evicted"
    made.stop()


def test_ending_frees_everything():
    made = kit.make_engine()
    step(made, 1, 30, 0, 3 * BLOCK)
    assert made.cache.extents.num_free < made.cache.extents.capacity
    assert step(made, 1, 40, 3 * BLOCK, 0).listener.ids == plain(1, 40)
    assert made.cache.extents.num_free == made.cache.extents.capacity
    made.stop()


def test_idle_sessions_are_forgotten():
    made = kit.make_engine(session_idle_s=0.05)
    step(made, 1, 30, 0, 3 * BLOCK)
    time.sleep(0.1)
    assert step(made, 1, 40, 3 * BLOCK, 0).listener.finished.finish_reason == "evicted"
    assert made.cache.extents.num_free == made.cache.extents.capacity
    made.stop()


def test_the_least_urgent_then_the_least_recently_used_gives_way_first():
    extents = kit.kv_cache.ExtentAllocator(100)
    cache = kit.sessions.SessionCache(extents, idle_s=60)
    for name, priority, last_used in [("live", 1, 1.0), ("old", 3, 2.0), ("new", 3, 3.0), ("file", 2, 0.0)]:
        cache.keep(name, kit.sessions.Kept([1, 2], 3, extents.allocate(10), priority, last_used))
    assert extents.num_free == 100 - 4 * 5

    def left():
        return [name for name in ("live", "old", "new", "file") if cache.has(Request(name, 3), [1, 2])]

    assert not cache.evict_one(4)
    assert cache.evict_one(2)
    assert left() == ["live", "new", "file"]
    assert cache.evict_one(2, spared="new")
    assert left() == ["live", "new"]
    assert cache.evict_one(2)
    assert not cache.evict_one(2)
    assert left() == ["live"]
    assert extents.num_free == 95


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), tokens=st.sampled_from([220, 400, 4096]), max_running=st.sampled_from([1, 3, 8]))
def test_growing_streams_under_any_pressure_equal_plain_requests(seed, tokens, max_running):
    """Streams that grow, resend when they are evicted, and share a small arena with bulk requests."""
    rng = random.Random(seed)
    made = kit.make_engine(tokens=tokens, max_running=max_running, max_step_tokens=rng.choice([8, 512]))
    lengths = dict.fromkeys((1, 2, 3), 0)
    kept = dict.fromkeys((1, 2, 3), 0)
    hypotheses = {stream: [] for stream in (1, 2, 3)}
    for _ in range(6):
        sequences = []
        for stream in rng.sample([1, 2, 3], rng.randint(1, 3)):
            lengths[stream] = min(120, lengths[stream] + rng.randint(1, 25))
            full = lengths[stream] // BLOCK * BLOCK
            request = Request(f"s{stream}", kept[stream], full)
            priority = rng.choice([1, 2])
            one = kit.make_sequence(
                stream, lengths[stream], priority=priority, session=request, draft=hypotheses[stream]
            )
            sequences.append((stream, full, one))
        bulk = [kit.make_sequence(50 + rng.randrange(4), 30, priority=3) for _ in range(rng.randint(0, 3))]
        kit.run(made, [one for *_, one in sequences] + bulk)
        assert [one.listener.ids for one in bulk] == [plain(int(one.request_id), 30) for one in bulk]
        for stream, full, one in sequences:
            if one.listener.finished.finish_reason == "evicted":
                one = kit.make_sequence(stream, lengths[stream], session=Request(f"s{stream}", 0, full))
                kit.run(made, [one])
            assert one.listener.ids == plain(stream, lengths[stream])
            kept[stream] = full
            hypotheses[stream] = one.listener.ids
    for stream in (1, 2, 3):
        step(made, stream, 10, 0, 0)
    assert made.cache.extents.num_free == made.cache.extents.capacity
    made.stop()
