"""The makers of hostile input, and the books that are kept of what became of it."""

import hashlib
import os
import subprocess
import sys
from collections import Counter

import pytest

from perf.chaos.hostile.answers import Answer, Tally, grpc_outcome, http_outcome
from perf.chaos.hostile.catalogue import KINDS, attacks
from perf.chaos.hostile.containers import FORMATS, whole
from tests.conftest import ROOT

COUNT = 300
DIGEST = (
    "import hashlib; from perf.chaos.hostile.catalogue import attacks; "
    "print(hashlib.sha256(repr([(n, k.name, a) for n, k, a in attacks(5, 300)]).encode()).hexdigest())"
)


def test_a_seed_repeats_itself_in_another_process():
    """Not only in this one: Python salts the hashes of texts anew in each."""
    here = hashlib.sha256(repr([(n, k.name, a) for n, k, a in attacks(5, COUNT)]).encode()).hexdigest()
    told = [
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": salt},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for salt in ("1", "2")
    ]
    assert told == [here, here]


def test_another_seed_is_another_onslaught():
    one, other = ({repr(attack) for _, _, attack in attacks(seed, COUNT)} for seed in (1, 2))
    assert len(one & other) < COUNT / 10


def test_there_are_as_many_as_were_asked_for_and_some_of_each_kind():
    told = Counter(kind.name for _, kind, _ in attacks(0, 1_000))
    assert told.total() == 1_000
    assert set(told) == {kind.name for kind in KINDS}
    assert min(told.values()) >= 4


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_kind_sends_the_same_thing_all_the_time(kind):
    told = {repr(attack) for _, _, attack in attacks(3, 40, (kind,))}
    assert len(told) > 12


@pytest.mark.parametrize("name", FORMATS)
def test_a_sound_file_has_the_same_bytes_every_time(name):
    first = whole(name)
    whole.cache_clear()
    assert whole(name) == first


@pytest.mark.parametrize(
    ("answered", "expected", "wanted"),
    [
        (b'HTTP/1.1 200 OK\r\n\r\n{"text":""}', True, Answer.OK),
        (b'HTTP/1.1 400 Bad Request\r\n\r\n{"error":{}}', True, Answer.REFUSED),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", True, Answer.FAILED),
        (b"HTTP/1.1 503 x\r\nRetry-After: 1\r\n\r\n", True, Answer.BUSY),
        # Nobody is told when to come back.
        (b"HTTP/1.1 503 x\r\n\r\n", True, Answer.FAILED),
        (b'HTTP/1.1 200 OK\r\n\r\ndata: {"type":"error","error":{"type":"server_error"}}', True, Answer.FAILED),
        (b"", True, Answer.CLOSED),
        (b"", False, Answer.CLOSED),
    ],
)
def test_http_answers_are_told_apart(answered, expected, wanted):
    assert http_outcome(answered, expected).answer is wanted


@pytest.mark.parametrize(
    ("message", "code", "wanted"),
    [
        ("INVALID_ARGUMENT: PCM is empty", "", Answer.REFUSED),
        # The model's own words for a mistake may speak of anything.
        ("INVALID_ARGUMENT: unknown language 'failed: x'", "", Answer.REFUSED),
        ("UNAVAILABLE: too many wait", "", Answer.BUSY),
        ("decoder failed: 'NoneType' object has no attribute 'as_numpy'", "", Answer.FAILED),
        ("unexpected shape for input 'PCM'", "INVALID_ARGUMENT", Answer.REFUSED),
        ("Deadline Exceeded", "DEADLINE_EXCEEDED", Answer.LATE),
        ("Socket closed", "UNAVAILABLE", Answer.FAILED),
    ],
)
def test_grpc_answers_are_told_apart(message, code, wanted):
    assert grpc_outcome(message, code).answer is wanted


def test_the_tally_counts_and_names_the_first_input_of_each_finding():
    tally = Tally()
    for number, outcome in enumerate([http_outcome(b"HTTP/1.1 500 x\r\n\r\nsample 7 is odd", True)] * 2):
        tally.add("files", 10 + number, outcome, 0.5)
    tally.add("files", 20, http_outcome(b"HTTP/1.1 500 x\r\n\r\nsample 9 is odd", True), 2.0)
    tally.add("files", 21, http_outcome(b"HTTP/1.1 400 x\r\n\r\n", True), 0.1)
    assert (tally.num_5xx, tally.slowest_s, tally.count(Answer.FAILED)) == (3, 2.0, 3)
    assert tally.findings() == ["files: failed, 3 times, first input 10: 500 sample 7 is odd"]
    assert tally.rows()[0]["refused"] == 1
