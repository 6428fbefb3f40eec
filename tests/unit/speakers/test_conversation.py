"""What travels with a conversation: read again as it was written, bounded, and refused where it is somebody's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.rooms import room
from tests.unit.speakers.test_clustering import RECORD, WIDTH, people, same, talk

conversation, stretch, clustering = (room("speakers", name) for name in ("conversation", "stretch", "clustering"))
Conversation, StateError = conversation.Conversation, conversation.StateError
LIMITS = clustering.Limits()


def turns(voices, seconds=3.0):
    return [stretch.HeardTurn(index, index, voice, seconds) for index, voice in enumerate(voices)]


def read_again(one):
    return Conversation.from_bytes(one.to_bytes().tobytes(), WIDTH)


def test_a_conversation_goes_on_from_its_bytes():
    whose = [number % 3 for number in range(18)]
    voices = talk(people(3), whose)
    whole, parts = Conversation(WIDTH), Conversation(WIDTH)
    whole.add(turns(voices), LIMITS, RECORD)
    for start in range(0, 18, 6):
        parts = read_again(parts)
        parts.add(turns(voices[start : start + 6]), LIMITS, RECORD)
    assert parts.next_turn == 18
    assert parts.speakers()[:, 0].tolist() == list(range(18))
    assert same(parts.speakers()[:, 1], whose)
    assert same(whole.speakers()[:, 1], whose)
    # In the order of their first turns.
    assert whole.speakers()[:3, 1].tolist() == [0, 1, 2]


def test_who_was_told_apart_keeps_the_number():
    voices, one = people(3), Conversation(WIDTH)
    one.add(turns(talk(voices, [1] * 4)), LIMITS, RECORD)
    one.add(turns(talk(voices, [0] * 4, seed=3)), LIMITS, RECORD)
    one.add(turns(talk(voices, [2, 1, 0] * 3, seed=4)), LIMITS, RECORD)
    assert one.speakers()[:, 1].tolist() == [0] * 4 + [1] * 4 + [2, 0, 1] * 3


def test_known_speakers_come_first_and_before_the_talk():
    voices, one = people(3), Conversation(WIDTH)
    for voice in voices[:2]:
        one.know(voice)
    one = read_again(one)
    one.add(turns(talk(voices, [2, 1, 2, 1, 0, 0])), LIMITS, RECORD)
    assert one.speakers()[:, 1].tolist() == [2, 1, 2, 1, 0, 0]
    with pytest.raises(ValueError, match="references come before the first stretch"):
        one.know(voices[2])


def test_too_many_are_not_known():
    one = Conversation(WIDTH)
    for _ in range(conversation.MOST_KNOWN):
        one.know(people(1)[0])
    with pytest.raises(ValueError, match="20 known speakers are the most"):
        one.know(people(1)[0])


def test_an_hour_is_bounded_and_remembers_who_is_who():
    voices, one = people(4), Conversation(WIDTH)
    rng, whose = np.random.default_rng(0), []
    for number in range(130):
        part = rng.integers(0, 4, 30).tolist()
        whose += part
        one = read_again(one)
        one.add(turns(talk(voices, part, seed=number)), LIMITS, RECORD)
    assert len(one.voices) <= conversation.MOST_VOICES
    assert len(one.entry_of) == conversation.MOST_TURNS
    assert one.next_turn == len(whose) == 3_900
    assert one.to_bytes().size < 120_000
    told = one.speakers()
    assert told[0, 0] == 3_900 - conversation.MOST_TURNS
    assert same(told[:, 1], whose[-conversation.MOST_TURNS :])


def test_a_stretch_of_any_length_leaves_bytes_that_are_read_again():
    one = Conversation(WIDTH)
    one.add(turns(talk(people(3), [number % 3 for number in range(2_600)])), LIMITS, RECORD)
    assert len(one.voices) == conversation.MOST_VOICES
    read = read_again(one)
    assert read.next_turn == 2_600
    assert same(read.speakers()[-90:, 1], [number % 3 for number in range(2_510, 2_600)])


def test_voices_of_nobody_make_no_crowd():
    """Voices that a client made up, none like another."""
    made_up = np.eye(WIDTH, dtype=np.float32)[np.arange(conversation.MOST_VOICES) % WIDTH]
    made_up = made_up + 0.3 * np.random.default_rng(0).standard_normal(made_up.shape).astype(np.float32)
    one = Conversation(WIDTH)
    one.know(people(1)[0])
    one.add(turns(made_up / np.linalg.norm(made_up, axis=1, keepdims=True)), LIMITS, RECORD)
    again = read_again(one)
    again.add(turns(people(1)), LIMITS, RECORD)
    assert again.speakers()[:, 1].max() <= clustering.MOST_SPEAKERS


def test_lengths_that_nobody_spoke_are_refused():
    one = Conversation(WIDTH)
    one.add(turns(people(1)), LIMITS, RECORD)
    one.seconds[:] = 1e38
    with pytest.raises(StateError):
        read_again(one)


def test_bytes_of_another_encoder_are_refused():
    data = Conversation(32).to_bytes().tobytes()
    with pytest.raises(StateError, match="from another speaker encoder"):
        Conversation.from_bytes(data, WIDTH)


@pytest.fixture(scope="module")
def written():
    one = Conversation(WIDTH)
    one.know(people(1)[0])
    one.add(turns(talk(people(2), [0, 1, 0])), LIMITS, RECORD)
    return one.to_bytes().tobytes()


@given(data=st.binary(max_size=200))
def test_bytes_of_somebodys_own_are_refused(data):
    with pytest.raises(StateError):
        Conversation.from_bytes(data, WIDTH)


@given(place=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.integers(0, 3))
def test_changed_bytes_are_refused_or_harmless(written, place, value, cut):
    data = bytearray(written)
    data[place % len(data)] = value
    try:
        read = Conversation.from_bytes(bytes(data[: len(data) - cut]), WIDTH)
    except StateError:
        return
    read.add(turns(talk(people(2), [0, 1])), LIMITS, RECORD)
    assert len(read.speakers()) == 5
