"""The fixed cost of a step is not taken for a cost of rows."""

import random

import pytest

from export.rooms import room

pace_room = room("decoder", "engine.step_pace")


def learned(fixed_s, row_s, sizes, noise=0.0):
    pace, rng = pace_room.StepPace(), random.Random(0)
    for rows in sizes:
        pace.observe(rows, (fixed_s + row_s * rows) * (1 + rng.uniform(-noise, noise)))
    return pace


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_gpus_step_of_many_rows_is_no_dearer_than_it_is(noise):
    """15 ms for the weights and 10 us a row: 2,500 rows in 40 ms. By seconds over rows, 64 rows would look like 15
    ms."""
    pace = learned(0.015, 1e-5, [64, 66, 64, 700, 64, 1_500, 65, 300] * 5, noise)
    assert pace.rows_within(0.040, 4_096) == pytest.approx(2_500, rel=0.25)
    assert pace.rows_within(0.200, 4_096) == 4_096


def test_steps_of_one_size_say_what_such_a_step_takes():
    pace = learned(0.3, 0.001, [100] * 20)
    assert pace.rows_within(0.4, 4_096) == pytest.approx(100, abs=1)


def test_a_step_that_is_too_long_by_itself_still_takes_some_rows():
    pace = learned(0.4, 0.001, [1, 50, 100, 30] * 10)
    assert pace.rows_within(0.2, 512) == 50
    assert pace.rows_within(0.0, 512) == pace_room.MIN_ROWS


def test_what_is_learned_follows_a_machine_that_slows_down():
    pace = learned(0.01, 1e-4, [10, 100, 400] * 20)
    for rows in [10, 100, 400] * 40:
        pace.observe(rows, 0.02 + 2e-4 * rows)
    assert pace.line() == pytest.approx((0.02, 2e-4), rel=0.05)


def test_nothing_is_known_at_first():
    assert pace_room.StepPace().rows_within(0.01, 512) == 512
