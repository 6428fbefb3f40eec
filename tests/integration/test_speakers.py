"""Who speaks, by the real Triton: the model `speakers` as its clients ask it."""

import asyncio

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from tritonclient.utils import InferenceServerException

from frontend.triton.client import TritonRefused
from frontend.triton.speaking import told_apart
from perf.speech.meetings import meeting, reference
from tests.conftest import HUMAN_SPEECH
from tests.integration.asking import infer

humans = pytest.mark.skipif(not HUMAN_SPEECH.is_dir(), reason=f"human speech is not at {HUMAN_SPEECH}")


def spans_of(talk):
    return np.array([[turn.start, turn.end] for turn in talk.turns], dtype=np.int32)


def agreement(found, talk):
    """The part of a conversation that the best naming of those who were found gives to who really speaks."""
    length = {}
    for speaker, turn in zip(found, talk.turns, strict=True):
        key = speaker, turn.speaker
        length[key] = length.get(key, 0) + turn.end - turn.start
    rows, columns = sorted(set(found)), talk.speakers
    shared = np.array([[length.get((row, column), 0) for column in columns] for row in rows])
    best = linear_sum_assignment(-shared)
    return shared[best].sum() / shared.sum()


@humans
async def test_a_conversation_is_told_apart_at_once_and_part_by_part(client):
    talk = meeting(3, 15, 41)
    spans = spans_of(talk)
    whole = await told_apart(client, talk.pcm, spans=spans, spans_are_turns=True)
    assert agreement([whole.speakers[number] for number in whole.turn_of_span], talk) > 0.85
    state, numbers = b"", []
    for first in range(0, 15, 5):
        start, end = int(spans[first, 0]), int(spans[min(first + 4, 14), 1])
        part = await told_apart(
            client, talk.pcm[start:end], spans=spans[first : first + 5] - start, spans_are_turns=True, state=state
        )
        state, numbers = part.state, numbers + part.turn_of_span
    assert numbers == list(range(15))
    # All turns of all stretches, as is known by the last one.
    assert part.speakers == whole.speakers


@humans
async def test_known_speakers_are_known(client):
    talk = meeting(2, 10, 52)
    state = b""
    for speaker in talk.speakers:
        state = (await told_apart(client, reference(speaker, 5.0, 3), known=True, state=state)).state
    apart = await told_apart(client, talk.pcm, spans=spans_of(talk), spans_are_turns=True, state=state)
    named = [talk.speakers[apart.speakers[number]] for number in apart.turn_of_span]
    long = [
        (name, turn.speaker) for name, turn in zip(named, talk.turns, strict=True) if turn.end - turn.start > 32_000
    ]
    assert len(long) >= 5
    assert all(name == speaker for name, speaker in long)


@humans
async def test_how_many_speak_can_be_said(client):
    talk = meeting(3, 12, 61)
    for limits, count in (({"max_speakers": 1}, 1), ({"max_speakers": 2}, 2), ({"min_speakers": 5}, 5)):
        apart = await told_apart(client, talk.pcm, spans=spans_of(talk), spans_are_turns=True, limits=limits)
        assert len(set(apart.speakers.values())) == count


async def test_requests_at_once_are_told_as_each_alone(client, english, chinese):
    alone = [await told_apart(client, pcm) for pcm in (english, chinese)]
    together = await asyncio.gather(*(told_apart(client, pcm) for _ in range(6) for pcm in (english, chinese)))
    for place, apart in enumerate(together):
        expected = alone[place % 2]
        assert apart.turns.tolist() == expected.turns.tolist()
        assert apart.speakers == expected.speakers


async def test_nothing_said_is_no_mistake(triton, english):
    told = await infer(triton.url, "speakers", PCM=english, SPANS=np.empty((0, 2), dtype=np.int32))
    assert told["TURNS"].shape == (0, 2)
    assert told["SPEAKERS"].shape == (0, 2)
    quiet = await infer(triton.url, "speakers", PCM=english, SPEECH_PROB=np.zeros(english.size // 512, np.float32))
    assert quiet["TURNS"].shape == (0, 2)
    silence = await infer(triton.url, "speakers", PCM=np.zeros(16_000, dtype=np.float32))
    assert silence["TURNS"].tolist() == [[0, 16_000]]


ONE = np.array([[0, 100]], dtype=np.int32)


@pytest.mark.parametrize(
    ("parameters", "inputs", "message"),
    [
        ({}, {"PCM": None}, "PCM is missing"),
        ({}, {"PCM": np.full(100, np.nan, np.float32)}, "PCM holds NaN"),
        ({}, {"SPANS": np.array([[0, 10**6]], dtype=np.int32)}, "SPANS lie outside of PCM"),
        ({}, {"SPANS": np.array([[50, 10]], dtype=np.int32)}, "SPANS lie outside of PCM, or end before"),
        ({}, {"SPANS": np.array([[50, 60], [10, 20]], dtype=np.int32)}, "SPANS are not in order"),
        ({}, {"SPANS": np.tile(ONE, (200, 1))}, "in so much sound 1.. are the most"),
        ({}, {"SPANS": np.tile(ONE * 600, (4, 1))}, "SPANS lie upon each other"),
        ({}, {"SPEECH_PROB": np.full(1_000, 0.9, np.float32)}, "SPEECH_PROB is not what vad says"),
        ({}, {"STATE": np.frombuffer(b"anything at all", dtype=np.uint8)}, "STATE did not come from this model"),
        ({"min_speakers": -1}, {}, "min_speakers must be a number"),
        ({"min_speakers": 3, "max_speakers": 2}, {}, "more than max_speakers"),
        ({"max_speakers": "many"}, {}, "max_speakers must be a number"),
        ({"known": "perhaps"}, {}, "known must be true or false"),
        ({"priority_level": 7}, {}, "priority_level must be one of"),
        ({"known": True}, {"SPANS": np.empty((0, 2), dtype=np.int32)}, "no speech to know somebody by"),
    ],
)
async def test_bad_input_is_refused_in_words(triton, english, parameters, inputs, message):
    given = {"PCM": english, **inputs}
    with pytest.raises(InferenceServerException, match=message) as refused:
        await infer(triton.url, "speakers", parameters, **{k: v for k, v in given.items() if v is not None})
    assert "INVALID_ARGUMENT" in str(refused.value)


async def test_a_reference_after_the_first_stretch_is_refused(client, english):
    state = (await told_apart(client, english)).state
    with pytest.raises(TritonRefused, match="references come before the first stretch"):
        await told_apart(client, english, known=True, state=state)
