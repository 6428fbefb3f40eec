"""Which server is asked next, by what is known of all of them."""

import random
from collections import Counter
from dataclasses import dataclass

import pytest

from frontend.triton import outliers
from frontend.triton.balancer import FILE, LIVE, Balancer, Standing
from frontend.triton.outliers import FIRST_S


@dataclass
class Seen:
    well: bool = True
    sessions: int = 0
    segments: int = 0
    number: int = 0

    def reports(self, kind):
        return self.number


def balancer(count, weights=None, seed=0):
    made = Balancer(random.Random(seed))
    standings = [Standing(f"s{n}", (weights or [1.0] * count)[n], Seen()) for n in range(count)]
    for one in standings:
        made.put(one)
    return made, standings


def taken(made, kind, count, now=0.0):
    """Names of those that were given so much work, which goes on."""
    names = []
    for _ in range(count):
        one = made.choose(kind, now)
        one.begin(kind)
        names.append(one.name)
    return names


@pytest.mark.parametrize("kind", [FILE, LIVE])
def test_work_goes_to_the_least_loaded(kind):
    made, standings = balancer(3)
    assert Counter(taken(made, kind, 60)) == {"s0": 20, "s1": 20, "s2": 20}
    for _ in range(7):
        standings[1].end(kind)
    assert taken(made, kind, 7) == ["s1"] * 7


def test_hundreds_are_drawn_from_and_spread_all_the_same():
    made, standings = balancer(300)
    taken(made, LIVE, 6_000)
    counts = [one.own[LIVE] for one in standings]
    # Drawn at random without a look at the load it would be 8 to 34 or so.
    assert 16 <= min(counts) <= max(counts) <= 22


def test_weights_are_parts_of_the_work():
    made, _ = balancer(3, [1.0, 2.0, 3.0])
    assert Counter(taken(made, LIVE, 60)) == {"s0": 10, "s1": 20, "s2": 30}


def test_sessions_are_spread_by_their_number_and_files_find_the_place_that_is_left():
    made, standings = balancer(2)
    for _ in range(10):
        standings[0].begin(FILE)
    assert Counter(taken(made, LIVE, 8)) == {"s0": 4, "s1": 4}
    assert taken(made, FILE, 10) == ["s1"] * 10


def test_what_others_have_there_counts_as_the_server_tells_it():
    made, (first, second) = balancer(2)
    first.begin(LIVE)
    # One of the five is our own.
    first.seen.sessions, first.seen.number = 5, 1
    second.seen.sessions, second.seen.number = 0, 1
    assert first.under_way(LIVE) == 5
    first.begin(LIVE)
    assert first.under_way(LIVE) == 6, "begun since that look"
    first.end(LIVE)
    first.end(LIVE)
    assert first.under_way(LIVE) == 4
    assert taken(made, LIVE, 4) == ["s1"] * 4
    # A server that tells less than we know tells nothing of others.
    second.seen.sessions, second.seen.number = 1, 2
    assert second.under_way(LIVE) == 4


def test_equal_ones_are_drawn_and_the_same_dice_draw_the_same():
    first = Counter(balancer(3, seed=seed)[0].choose(FILE, 0.0).name for seed in range(300))
    assert min(first.values()) > 60
    assert taken(balancer(50, seed=7)[0], LIVE, 200) == taken(balancer(50, seed=7)[0], LIVE, 200)
    assert taken(balancer(50, seed=7)[0], LIVE, 200) != taken(balancer(50, seed=8)[0], LIVE, 200)


def test_who_is_not_well_is_asked_only_where_nobody_is():
    made, (first, second) = balancer(2)
    first.seen.well = False
    assert set(taken(made, FILE, 10)) == {"s1"}
    second.seen.well = False
    assert set(taken(made, FILE, 40)) == {"s0", "s1"}
    assert not made.has_room_beside("s0", FILE, 0.0)


def test_who_is_drained_is_asked_by_nobody():
    made, (first, second) = balancer(2)
    first.weight = 0.0
    made.put(first)
    second.seen.well = False
    assert set(taken(made, LIVE, 10)) == {"s1"}
    second.weight = 0.0
    made.put(second)
    assert made.choose(LIVE, 0.0) is None
    first.weight = 1.0
    made.put(first)
    assert made.choose(LIVE, 0.0) is first


def test_a_failure_is_believed_until_somebody_has_looked():
    made, (first, second) = balancer(2)
    first.failed(0.0)
    assert set(taken(made, FILE, 20)) == {"s1"}
    first.seen.number += 1
    assert taken(made, FILE, 1) == ["s0"]
    made.remove("s0")
    second.failed(0.0)
    assert taken(made, FILE, 1) == ["s1"], "there is nobody else"
    made.remove("s1")
    assert made.choose(FILE, 0.0) is None


def test_who_is_full_is_left_alone_for_a_moment_and_for_that_kind_of_work():
    made, (first, second) = balancer(2)
    first.full(FILE, 0.0)
    assert set(taken(made, FILE, 10, now=0.5)) == {"s1"}
    assert made.has_room_beside("s0", FILE, 0.5)
    assert not made.has_room_beside("s1", FILE, 0.5)
    assert taken(made, FILE, 1, now=2.0) == ["s0"]
    second.full(LIVE, 2.0)
    assert made.has_room_beside("s0", FILE, 2.0)
    assert not made.has_room_beside("s0", LIVE, 2.0)


def fail(standing, count, now):
    """Failures a while apart, each seen well again by whoever looks."""
    for number in range(count):
        standing.failed(now + number)
        standing.seen.number += 1
    return now + count


def test_who_fails_where_others_do_not_is_set_aside_for_a_while_and_longer_each_time():
    told = []
    made, standings = balancer(4)
    made = Balancer(random.Random(0), lambda one, reason: told.append((one.name, reason)))
    for one in standings:
        made.put(one)
    bad, *good = standings
    for one in good:
        for _ in range(10):
            one.answered(FILE, 0.1, 0.0)
    now = fail(bad, 5, 0.0)
    assert told == [("s0", "5 of its last 5 answers failed")]
    assert "s0" not in taken(made, LIVE, 30, now)
    assert "s0" in taken(made, LIVE, 30, now + FIRST_S)
    for one in good:
        for _ in range(10):
            one.answered(FILE, 0.1, now + FIRST_S)
    now = fail(bad, 5, now + FIRST_S)
    assert bad.record.aside_until > now + FIRST_S


def test_what_fails_everywhere_sets_nobody_aside():
    made, standings = balancer(3)
    for now in range(20):
        for one in standings:
            one.failed(float(now))
            one.seen.number += 1
    assert [one.record.aside_until for one in standings] == [0.0] * 3
    assert len(set(taken(made, FILE, 30, 20.0))) == 3


@pytest.mark.parametrize(("count", "most"), [(1, 0), (2, 1), (3, 1), (6, 2), (9, 3)])
def test_most_are_never_set_aside(count, most):
    made, standings = balancer(count)
    now = 0.0
    for one in standings:
        # The others answer well, as long as they are asked.
        for other in standings:
            if other is not one:
                for _ in range(10):
                    other.answered(FILE, 0.1, now)
        now = fail(one, 10, now)
        aside = [one for one in standings if one.record.aside_until > now]
        assert len(aside) <= most
    assert made.choose(FILE, now) is not None


def test_who_is_far_slower_than_the_others_is_set_aside():
    made, (slow, *others) = balancer(3)
    for number in range(40):
        now = float(number)
        slow.answered(LIVE, 2.0, now)
        for one in others:
            one.answered(LIVE, 0.3, now)
        if slow.record.aside_until:
            break
    assert "come after 2 s" in slow.record.reason
    assert set(taken(made, FILE, 10, now)) == {"s1", "s2"}


def test_all_that_are_slow_alike_are_busy_and_not_set_aside():
    made, standings = balancer(3)
    for number in range(100):
        for place, one in enumerate(standings):
            one.answered(FILE, 3.0 + place, float(number))
    assert all(one.record.aside_until == 0.0 for one in standings)
    assert made.choose(FILE, 100.0) is not None


def test_old_failures_are_forgotten():
    _, (one, other) = balancer(2)
    for number in range(10):
        one.failed(number * outliers.WINDOW_S)
        other.answered(FILE, 0.1, number * outliers.WINDOW_S)
    assert one.record.aside_until == 0.0
