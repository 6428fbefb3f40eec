"""The books of faults, overload and endurance: what they call lost, doubled, wrong, right and grown."""

import asyncio
import os
import subprocess
import sys
from argparse import Namespace

import pytest

from perf.chaos import benchmark
from perf.chaos.census import Census, Count
from perf.chaos.ledger import Entry, balance
from perf.chaos.overload.generator import Answers, Target, closed_loop, open_loop
from perf.chaos.overload.measure import Overload
from perf.chaos.soak import MORE_DESCRIPTORS, MORE_MB, Soak
from tests.conftest import ROOT

RIGHT = b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"text":"one two"}'
BUSY = b"HTTP/1.1 503 x\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("heard", "lost", "doubled", "wrong"),
    [
        ([(0, "one"), (1, "two")], 0, 0, 0),
        ([(0, "one")], 1, 0, 0),
        ([(0, "one"), (1, "two"), (1, "two")], 0, 1, 0),
        ([(0, "one"), (1, "too")], 0, 0, 1),
        ([(0, "one"), (1, "two"), (2, "three")], 0, 0, 1),
        ([], 2, 0, 0),
    ],
)
def test_the_ledger_tells_lost_doubled_and_wrong(heard, lost, doubled, wrong):
    books = balance([Entry("ws", ["one", "two"], heard=heard)])
    assert (books.lost, books.doubled, books.wrong) == (lost, doubled, wrong)


def test_a_connection_that_broke_is_a_loss_unless_the_frontend_was_killed():
    entry = Entry("file", ["one"])
    entry.again()
    entry.heard.append((0, "one"))
    assert balance([entry]).lost == 1
    assert balance([entry], may_begin_anew=True).lost == 0


async def served(answer, delay_s=0.0):
    """A server that answers all alike; its port, and how many it answered."""
    count = [0]

    async def one(reader, writer):
        await reader.read(100)
        await asyncio.sleep(delay_s)
        count[0] += 1
        writer.write(answer if isinstance(answer, bytes) else answer(count[0]))
        writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1], count


async def test_an_open_loop_offers_what_it_was_told_to_whatever_is_answered():
    server, port, count = await served(lambda number: RIGHT if number % 2 else BUSY)
    async with server:
        answers = await open_loop(Target(port, b"x", b"one two"), rate=200, seconds=0.5)
    assert len(answers.lag_s) == 100
    # The last ones may be on their way when its time is over.
    assert 90 <= count[0] <= 100
    assert answers.sent + answers.unsent <= 100
    assert answers.right
    assert answers.refused
    assert not answers.without_retry_after
    assert not answers.other


async def test_what_could_not_be_sent_is_told():
    server, port, _ = await served(RIGHT, delay_s=30.0)
    async with server:
        answers = await open_loop(Target(port, b"x", b"one two"), rate=100, seconds=0.3, most_open=5)
    assert answers.unsent == 25
    assert not answers.right


async def test_a_closed_loop_takes_no_wrong_text_for_an_answer():
    server, port, _ = await served(RIGHT)
    async with server:
        right = await closed_loop(Target(port, b"x", b"one two"), 2, 0.2)
        wrong = await closed_loop(Target(port, b"x", b"nine"), 2, 0.2)
    assert right.right
    assert not right.other
    assert not wrong.right
    assert wrong.other


def test_overload_is_judged_by_goodput_refusals_and_live_streams():
    found = Overload(
        closed={2: Answers(10.0, right=[0.1] * 100), 4: Answers(10.0, right=[0.1] * 200)},
        flood=Answers(60.0, right=[0.1] * 1_080, refused=[0.01] * 10_000, lag_s=[0.0]),
        probes=Answers(60.0, refused=[0.05] * 100),
        live={"alone": [0.1] * 10, "4 clients": [0.12] * 10, "overload": [0.15] * 10},
    )
    told = found.figures()
    assert told["chaos.goodput_at_10x"] == pytest.approx(0.9)
    assert told["chaos.refusal_ms_p95"] == pytest.approx(50.0)
    assert told["chaos.sustainable_clients"] == 4
    assert told["chaos.live_latency_ratio"] == pytest.approx(1.25)
    assert told["chaos.live_latency_ratio_to_alone"] == pytest.approx(1.5)
    assert found.is_good
    found.live["overload"] = [0.19] * 10
    assert not found.is_good


def counted(memory_mb=100.0, descriptors=20, threads=9, pid=1):
    return Census({"decoder": Count(frozenset({pid}), memory_mb, descriptors, threads)}, 10, 50.0)


@pytest.mark.parametrize(
    ("after", "word"),
    [
        (counted(), None),
        (counted(memory_mb=100.0 + MORE_MB - 1), None),
        (counted(memory_mb=100.0 + MORE_MB + 1), "MB more"),
        (counted(descriptors=20 + MORE_DESCRIPTORS + 1), "descriptors more"),
        (counted(threads=20), "threads more"),
        (counted(pid=2), "started anew"),
        (Census(counted().processes, 20, 50.0), "shared memory"),
    ],
)
def test_a_soak_names_what_is_not_flat(after, word):
    grown = Soak(counted(), after, 3_600.0, 600.0, 1, 1, []).grown()
    assert bool(grown) == (word is not None)
    assert all(word in line for line in grown)


PLAN = """
from perf.chaos.faults import Fault
from perf.chaos.rounds import plan
from perf.chaos.traffic import Traffic
faults = [Fault(f"fault {number}", None) for number in range(20)]
for fault, seed, after_s in plan(faults, 7):
    print(fault.name, after_s, [round(Traffic("", [], seed=seed).rng(client).random(), 9) for client in range(3)])
"""


def test_a_seed_repeats_faults_and_traffic_in_another_process():
    """Not only in this one: Python salts the hashes of texts anew in each."""
    told = [
        subprocess.run(
            [sys.executable, "-c", PLAN],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": salt},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for salt in ("1", "2")
    ]
    assert told[0] == told[1]
    assert len(set(told[0].splitlines())) == 20


def test_a_part_that_runs_again_leaves_the_tables_of_the_others(tmp_path):
    path = tmp_path / "chaos.json"
    for title, rows in (("Faults", [{"fault": "one", "lost": 0}]), ("Endurance", [{"process": "vad"}])):
        arguments = Namespace(json=path, tables=benchmark._tables_beside(path))
        benchmark._show(arguments, title, rows)
        benchmark._write(arguments, {"chaos.lost": 0})
    benchmark._show(arguments, "Faults", [{"fault": "two", "lost": 1}])
    benchmark._write(arguments, {"chaos.lost": 1})
    page = path.with_suffix(".md").read_text()
    assert page.index("## Faults") < page.index("| two | 1 |") < page.index("## Endurance") < page.index("| vad |")
    assert "one" not in page
