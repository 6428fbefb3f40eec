"""Work in turns: who goes first, who shares a run, and that everybody is answered."""

import os
import threading
import time

import pytest

from export.rooms import room

turns = room("vad", "turns")
LIVE, INTERACTIVE, BULK = turns.PRIORITIES
DEADLINE_S = 20.0


class Job:
    """Takes `num_runs` runs. `gate`: what its runs wait for."""

    def __init__(self, name, priority=INTERACTIVE, num_runs=1, num_bytes=1, gate=None):
        self.name, self.priority, self.num_bytes = name, priority, num_bytes
        self.left, self.gate = num_runs, gate
        self.cancelled = False
        self.failures = []
        self.began, self.ended = threading.Event(), threading.Event()

    def is_cancelled(self):
        return self.cancelled

    def fail(self, message):
        self.failures.append(message)
        self.ended.set()

    def run(self):
        self.began.set()
        if self.gate is not None:
            assert self.gate.wait(DEADLINE_S)
        self.left -= 1
        if not self.left:
            self.ended.set()
        return bool(self.left)


class Room:
    """What was run, in order."""

    def __init__(self, **options):
        self.ran = []
        self.turns = turns.Turns(self._run, **{"num_threads": 1, "max_waiting_bytes": 100, **options})

    def _run(self, jobs):
        self.ran.append([job.name for job in jobs])
        return [job for job in jobs if job.run()]

    def add(self, *jobs):
        for job in jobs:
            self.turns.add(job)


@pytest.fixture
def make():
    made = []

    def room_of(**options):
        made.append(Room(**options))
        return made[-1]

    yield room_of
    for one in made:
        one.turns.close(DEADLINE_S)
        assert not any(thread.is_alive() for thread in one.turns._threads)


def ended(*jobs):
    for job in jobs:
        assert job.ended.wait(DEADLINE_S), f"{job.name} was never answered"


def test_live_work_waits_for_no_file(make):
    gate = threading.Event()
    file, live = Job("file", gate=gate), Job("live", LIVE)
    house = make()
    house.add(file)
    assert file.began.wait(DEADLINE_S)
    house.add(live)
    ended(live)
    assert not file.ended.is_set()
    gate.set()
    ended(file)


def test_waiting_files_go_by_priority_and_then_in_their_order(make):
    gate = threading.Event()
    first = Job("first", gate=gate)
    jobs = [Job("bulk", BULK), Job("a"), Job("b"), Job("bulk too", BULK)]
    house = make()
    house.add(first)
    assert first.began.wait(DEADLINE_S)
    house.add(*jobs)
    gate.set()
    ended(first, *jobs)
    assert house.ran == [["first"], ["a"], ["b"], ["bulk"], ["bulk too"]]


def test_a_long_file_takes_turns_with_short_ones(make):
    gate = threading.Event()
    long, short = Job("long", num_runs=4, gate=gate), [Job("a"), Job("b")]
    house = make()
    house.add(long)
    assert long.began.wait(DEADLINE_S)
    house.add(*short)
    gate.set()
    ended(long, *short)
    assert house.ran == [["long"], ["a"], ["b"], ["long"], ["long"], ["long"]]


def test_as_many_files_run_at_once_as_there_are_threads(make):
    gate = threading.Event()
    jobs = [Job(str(number), gate=gate) for number in range(4)]
    house = make(num_threads=3)
    house.add(*jobs)
    for job in jobs[:3]:
        assert job.began.wait(DEADLINE_S)
    # Those for live jobs are for none of them.
    assert not jobs[3].began.is_set()
    gate.set()
    ended(*jobs)


def test_jobs_that_are_chosen_together_share_a_run(make):
    gate = threading.Event()
    first = Job("first", gate=gate)
    jobs = [Job("a", num_runs=2), Job("b"), Job("c")]
    house = make(choose=lambda waiting: waiting[:2])
    house.add(first)
    assert first.began.wait(DEADLINE_S)
    house.add(*jobs)
    gate.set()
    ended(*jobs)
    assert house.ran == [["first"], ["a", "b"], ["c", "a"]]


def test_live_jobs_share_no_run_with_files(make):
    gate = threading.Event()
    # All threads are taken when the others come.
    first, live = Job("first", gate=gate), [Job(str(number), LIVE, gate=gate) for number in range(2)]
    house = make(choose=list)
    for job in (first, *live):
        house.add(job)
        assert job.began.wait(DEADLINE_S)
    jobs = [Job("file"), Job("live", LIVE), Job("live too", LIVE)]
    house.add(*jobs)
    gate.set()
    ended(first, *live, *jobs)
    assert ["live", "live too"] in house.ran
    assert ["file"] in house.ran


def test_what_a_run_raises_answers_its_jobs_and_no_others(make):
    class Broken(Job):
        def run(self):
            raise MemoryError("no room for it")

    gate = threading.Event()
    first, broken, sound = Job("first", gate=gate), Broken("broken"), Job("sound")
    house = make(choose=list)
    house.add(first)
    assert first.began.wait(DEADLINE_S)
    house.add(broken, sound)
    gate.set()
    ended(first, broken, sound)
    assert house.ran[1] == ["broken", "sound"]
    assert broken.failures == ["no room for it"]
    assert not sound.failures
    house.turns.close(DEADLINE_S)
    assert house.turns.counts.failures == {LIVE: 0, INTERACTIVE: 1, BULK: 0}


def test_a_cancelled_job_is_not_run_again(make):
    gate = threading.Event()
    job = Job("left", num_runs=1_000_000, gate=gate)
    house = make()
    house.add(job)
    assert job.began.wait(DEADLINE_S)
    job.cancelled = True
    gate.set()
    ended(job)
    assert job.failures == ["the request was cancelled"]
    assert house.ran == [["left"]]


def test_beyond_what_may_wait_files_are_refused_and_live_speech_is_not(make):
    gate = threading.Event()
    # Alone it may be as large as it likes.
    first, second = Job("first", num_bytes=90, gate=gate), Job("second", num_bytes=10)
    house = make()
    house.add(first)
    assert first.began.wait(DEADLINE_S)
    house.add(second)
    with pytest.raises(turns.RoomFull, match="try again later"):
        house.add(Job("third", num_bytes=1))
    live = Job("live", LIVE, num_bytes=50)
    house.add(live)
    gate.set()
    ended(first, second, live)
    again = Job("again", num_bytes=100)
    house.add(again)
    ended(again)


def test_closing_finishes_what_is_there(make):
    house = make()
    jobs = [Job(str(number), num_runs=3) for number in range(5)]
    house.add(*jobs)
    house.turns.close(DEADLINE_S)
    assert not any(job.failures for job in jobs)
    assert all(job.ended.is_set() for job in jobs)
    with pytest.raises(turns.RoomFull):
        house.add(Job("late"))


def test_closing_answers_what_it_cannot_finish(make):
    house = make()
    endless = Job("endless", num_runs=10**9)
    house.add(endless)
    assert endless.began.wait(DEADLINE_S)
    house.turns.close(0.05)
    assert endless.failures == ["the room is being closed"]


def test_requests_and_their_times_are_counted_by_priority(make):
    gate = threading.Event()
    first, second = Job("first", BULK, gate=gate), Job("second", BULK)
    house = make()
    house.add(first)
    assert first.began.wait(DEADLINE_S)
    house.add(second)
    assert house.turns.counts.waiting == 1
    time.sleep(0.02)
    gate.set()
    ended(first, second)
    house.turns.close(DEADLINE_S)
    counts = house.turns.counts
    assert counts.requests == {LIVE: 0, INTERACTIVE: 0, BULK: 2}
    assert counts.queue_s[BULK] >= 0.02
    assert counts.compute_s[BULK] >= 0.02
    assert counts.turns[BULK] == counts.runs[BULK] == 2
    assert counts.waiting == 0


@pytest.mark.parametrize(("told", "priority"), [({}, 2), ({"priority_level": 1}, 1), ({"priority_level": "3"}, 3)])
def test_a_request_says_its_priority(told, priority):
    assert turns.checked_priority(told) == priority


@pytest.mark.parametrize("told", [0, 4, "live", 1.5, None, True])
def test_a_priority_that_is_none_is_refused(told):
    with pytest.raises(ValueError, match="priority_level must be one of"):
        turns.checked_priority({"priority_level": told})


def test_files_have_what_others_leave_of_the_cores_and_live_work_its_share(make):
    room, policies = make(num_threads=2), {}

    def noting(job):
        def run():
            policies[job.name] = os.sched_getscheduler(0)
            return Job.run(job)

        return run

    jobs = [Job(f"{priority} {number}", priority) for number in range(20) for priority in turns.PRIORITIES]
    for job in jobs:
        job.run = noting(job)
    room.add(*jobs)
    assert all(job.ended.wait(DEADLINE_S) for job in jobs)
    for job in jobs:
        # Where threads for files are free, too, none of them takes a live job.
        assert policies[job.name] == (os.SCHED_OTHER if job.priority == LIVE else os.SCHED_IDLE)
