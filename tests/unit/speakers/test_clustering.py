"""Whose voices are one speaker's, on voices that are made: how many there are is known."""

import numpy as np
import pytest

from export.rooms import room
from export.speakers import GE2E

clustering, encoder, record_room = (room("speakers", name) for name in ("clustering", "encoder", "record"))
Limits = clustering.Limits
RECORD = record_room.Record(**GE2E)
WIDTH = 64


def people(count, seed=0):
    """Voices far from each other: cosines of about 0.4, as those of two people."""
    rng = np.random.default_rng(seed)
    own = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0][: count + 1]
    return encoder.unit((0.65 * own[0] + 0.76 * own[1:]).astype(np.float32))


def talk(voices, whose, noise=0.4, seed=1):
    """Turns of these people, each some way from the voice of who speaks."""
    rng = np.random.default_rng(seed)
    off = encoder.unit(rng.standard_normal((len(whose), WIDTH)).astype(np.float32))
    return encoder.unit(voices[whose] + noise * off)


def nobody():
    return np.zeros((0, WIDTH), dtype=np.float32)


def same(found, whose):
    """Whether two labellings divide alike."""
    pairs = set(zip(found.tolist(), whose, strict=True))
    return len(pairs) == len(set(whose)) == len(set(found.tolist()))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_as_many_are_found_as_there_are(count):
    whose = [number % count for number in range(8 * count)]
    found = clustering.clustered(
        talk(people(count), whose), np.full(len(whose), 3.0, np.float32), nobody(), Limits(), RECORD
    )
    assert same(found, whose)


def test_nothing_and_one_turn():
    assert clustering.clustered(nobody(), np.zeros(0, np.float32), nobody(), Limits(), RECORD).size == 0
    one = clustering.clustered(people(1), np.array([0.3], np.float32), nobody(), Limits(2, 3), RECORD)
    assert one.tolist() == [0]


def test_at_least_and_at_most_hold():
    whose = [number % 3 for number in range(24)]
    voices, seconds = talk(people(3), whose), np.full(24, 3.0, np.float32)
    two = clustering.clustered(voices, seconds, nobody(), Limits(at_most=2), RECORD)
    assert len(set(two.tolist())) == 2
    five = clustering.clustered(voices, seconds, nobody(), Limits(at_least=5), RECORD)
    assert len(set(five.tolist())) == 5
    # Each of them is a part of one of the three.
    assert all(len({whose[turn] for turn in np.flatnonzero(five == one)}) == 1 for one in set(five.tolist()))


def test_a_short_turn_founds_nobody_and_goes_to_the_nearest():
    whose = [0, 1] * 6 + [2]
    voices = talk(people(3), whose)
    seconds = np.array([4.0] * 12 + [0.4], np.float32)
    found = clustering.clustered(voices, seconds, nobody(), Limits(), RECORD)
    assert len(set(found.tolist())) == 2
    assert same(found[:12], whose[:12])


def test_the_known_are_known_and_a_stranger_is_none_of_them():
    voices = people(3)
    whose = [number % 3 for number in range(24)]
    found = clustering.clustered(
        talk(voices, whose), np.full(24, 3.0, np.float32), talk(voices[:2], [0, 1], seed=5), Limits(), RECORD
    )
    assert found.tolist() == whose


def test_who_is_known_and_silent_is_nobody():
    voices = people(3)
    whose = [0, 1] * 8
    found = clustering.clustered(talk(voices, whose), np.full(16, 3.0, np.float32), voices[2:], Limits(), RECORD)
    assert 0 not in found.tolist()
    assert same(found, whose)
