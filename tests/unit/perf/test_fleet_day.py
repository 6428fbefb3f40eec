"""A day of several servers: the load's curve, the scaler, and that the simulation repeats itself and loses nobody."""

import dataclasses
import random
from argparse import ArgumentParser

import pytest

from perf.loads import arguments as taken
from perf.loads.commands import plan
from perf.planning.day import NIGHT, PEAK_HOUR, Day
from perf.planning.figures import Figures, percentile
from perf.planning.fleet_day import FleetDay, Scene
from perf.planning.scaler import Scaler
from perf.planning.simulated import Clock, SimulatedServer, look_s


def scene(**given):
    return Scene(**{"servers": 6, "capacity": 20, "wait_s": lambda count: count / 1_000, "hours": 3.0, **given})


def test_a_day_is_busiest_in_the_afternoon_and_repeats_itself():
    day = Day(peak=100.0)
    assert day.share(PEAK_HOUR * 3_600) == pytest.approx(1.0)
    assert day.share((PEAK_HOUR - 12) * 3_600) == pytest.approx(NIGHT)
    found = [*day.arrivals(random.Random(1))]
    assert found == [*day.arrivals(random.Random(1))]
    times = [at for at, _ in found]
    assert times == sorted(times)
    noon, night = (sum(hour <= at / 3_600 < hour + 4 for at in times) for hour in (13, 1))
    assert noon > 2 * night
    lengths = [length for _, length in found]
    assert sum(lengths) / len(lengths) == pytest.approx(600.0, rel=0.1)


def test_a_scaler_looks_late_goes_up_at_once_and_down_after_a_while():
    scaler = Scaler(target=10.0, least=2, most=50, lag_s=30.0, window_s=300.0)
    assert scaler.wanted(0.0, 20, 2, 2) == 2
    assert scaler.wanted(15.0, 60, 2, 2) == 2, "what it sees is old"
    assert scaler.wanted(60.0, 60, 2, 2) == 6
    # Those that are starting are not ordered again.
    assert scaler.wanted(90.0, 60, 2, 6) == 6
    assert scaler.wanted(120.0, 20, 6, 6) == 6
    assert scaler.wanted(180.0, 20, 6, 6) == 6
    assert scaler.wanted(600.0, 20, 6, 6) == 2
    assert scaler.wanted(700.0, 10_000, 2, 2) == 2
    assert scaler.wanted(760.0, 10_000, 2, 2) == 6, "at most doubled, or four more"


def test_what_is_seen_of_a_server_is_what_the_last_look_saw():
    clock = Clock()
    server = SimulatedServer("s", clock, 1.0, 0.0)
    assert not server.well
    server.become("ready")
    session = object()
    clock.now = 0.5
    server.take(session)
    assert (server.well, server.sessions, server.number) == (True, 0, 1)
    assert server.sessions_of == {session}
    clock.now = 1.0
    assert (server.well, server.sessions, server.number) == (True, 1, 2)
    server.drop(session)
    server.become("dead")
    assert (server.well, server.sessions) == (True, 1)
    clock.now = 2.5
    assert (server.well, server.sessions, server.number) == (False, 0, 3)
    assert look_s(10) == 0.5
    assert look_s(1_000) == 50.0


def test_a_day_repeats_itself_and_nobody_is_lost():
    first, again, other = (FleetDay(scene(seed=seed)).run() for seed in (3, 3, 4))
    assert dataclasses.asdict(first) == dataclasses.asdict(again)
    assert first.begun != other.begun
    assert first.begun > 500
    assert first.lost == other.lost == 0


def test_a_rolling_restart_moves_sessions_and_loses_none(monkeypatch):
    monkeypatch.setattr("perf.planning.fleet_day.ROLL_HOUR", 0.5)
    monkeypatch.setattr("perf.planning.fleet_day.FAILS_EVERY_S", 1e12)
    found = FleetDay(scene(hours=2.0)).run()
    assert found.moved_by_drains >= 10
    assert (found.moved_by_faults, found.lost, found.failed_attempts) == (0, 0, 0)
    assert percentile(found.gaps_s, 99) < 1.0


def test_servers_that_fail_lose_no_session_and_are_noticed(monkeypatch):
    monkeypatch.setattr("perf.planning.fleet_day.FAILS_EVERY_S", 7_200.0)
    found = FleetDay(scene(servers=12)).run()
    assert found.moved_by_faults > 20
    assert found.lost == 0
    assert 0.1 < percentile(found.gaps_s, 50) < 12.0


def test_the_least_loaded_of_some_is_more_even_than_anybody():
    spread, random_one = (
        percentile(FleetDay(scene(servers=40, drawn=drawn, hours=2.0)).run().fullest, 50) for drawn in (5, 1)
    )
    assert spread < random_one


def test_delays_are_counted_by_the_sessions_that_have_them():
    found = Figures()
    found.waits_ms.update({20: 90, 500: 10})
    assert (found.wait_ms(50), found.wait_ms(90), found.wait_ms(95)) == (20.0, 20.0, 500.0)
    assert percentile([], 50) == 0.0


def test_the_command_tells_a_row_for_each_size(capsys):
    parser = ArgumentParser()
    taken.plan(parser)
    asked = parser.parse_args(["--servers", "2,3", "--hours", "0.3"])
    assert plan(asked) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 2 |") or "| 3 |" in line[:5]]
    assert len(lines) == 2
    with pytest.raises(SystemExit):
        parser.parse_args(["--servers", "0"])
