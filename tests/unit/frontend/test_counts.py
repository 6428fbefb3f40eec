"""Counts that several processes share."""

import mmap
import os
import subprocess
import sys

import pytest

from frontend.guard.counts import CONNECTIONS, NAMES, SESSIONS, Counts
from frontend.guard.keys import Bucket, KeyGate, Keys
from frontend.settings import Settings

PROCESSES, KEYS = 3, 2


@pytest.fixture(name="rows")
def _rows():
    """The counts as each of the processes has them."""
    memory = bytearray(Counts.size(KEYS, PROCESSES))
    return [Counts(KEYS, PROCESSES, row, memory) for row in range(PROCESSES)]


def test_each_process_counts_for_itself_and_all_know_the_sum(rows):
    for name in NAMES:
        for row, counts in enumerate(rows):
            counts.count(name).add(row + 1)
        assert [counts.count(name).own for counts in rows] == [1, 2, 3]
        assert {counts.count(name).total for counts in rows} == {6}
    for key in range(KEYS):
        for counts in rows:
            counts.running(key).add(key + 1)
    assert [rows[0].running(key).total for key in range(KEYS)] == [3, 6]
    assert rows[2].count(SESSIONS).total == 6


def test_what_a_process_counted_goes_with_it(rows):
    for counts in rows:
        counts.count(SESSIONS).add(5)
        counts.running(1).add(1)
    rows[0].clear(1)
    assert (rows[2].count(SESSIONS).total, rows[2].running(1).total) == (10, 2)
    rows[1].count(CONNECTIONS).set(7)
    assert rows[0].count(CONNECTIONS).total == 7


def test_a_clients_rate_holds_whichever_process_it_asks(rows):
    buckets = [Bucket(30, counts.time(0)) for counts in rows]
    others = Bucket(30, rows[0].time(1))
    passed = sum(buckets[number % PROCESSES].take() == 0 for number in range(60))
    # A bucket may fill by one while this runs.
    assert passed in (30, 31)
    assert 0 < buckets[1].take() <= 2
    assert others.take() == 0


async def test_a_key_has_its_requests_at_a_time_over_all_processes(rows):
    answers = []

    async def app(scope, receive, send):
        raise AssertionError("it is one too many")

    async def send(message):
        answers.append(message.get("status"))

    settings = Settings(requests_at_a_time=4)
    keys = Keys([b"1" * 32, b"2" * 32])
    keys.find = lambda name: 1
    gates = [KeyGate(app, settings, keys, counts) for counts in rows]
    for counts in rows:
        counts.running(1).add(1)
    rows[0].running(1).add(1)
    scope = {"type": "http", "path": "/v1/models", "method": "GET", "headers": [(b"authorization", b"Bearer x")]}
    await gates[2](scope, None, send)
    assert answers[0] == 429


def test_other_processes_see_the_same_memory():
    size = Counts.size(KEYS, PROCESSES)
    memory = os.memfd_create("counts")
    os.ftruncate(memory, size)
    ours = Counts(KEYS, PROCESSES, 0, mmap.mmap(memory, size))
    ours.count(SESSIONS).add(1)
    theirs = (
        "import mmap, sys; from frontend.guard.counts import Counts; "
        f"counts = Counts({KEYS}, {PROCESSES}, 1, mmap.mmap(int(sys.argv[1]), {size})); "
        "count = counts.count('live_sessions'); count.add(2); counts.time(0).set(12.5); print(count.total)"
    )
    told = subprocess.run(
        [sys.executable, "-c", theirs, str(memory)], pass_fds=[memory], capture_output=True, text=True, timeout=60
    )
    assert (told.stdout.strip(), told.returncode) == ("3", 0), told.stderr
    assert ours.count(SESSIONS).total == 3
    assert ours.time(0).get() == 12.5
    os.close(memory)
