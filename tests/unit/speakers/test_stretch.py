"""A stretch of human speech as turns, by the exported encoder."""

import itertools

import numpy as np
import pytest

from export.rooms import MODEL_REPOSITORY, room
from export.speakers import is_exported, speaker_folder
from perf.speech.meetings import meeting, people
from tests.conftest import HUMAN_SPEECH

stretch, encoder_room = room("speakers", "stretch"), room("speakers", "encoder")
pytestmark = [
    pytest.mark.skipif(not is_exported(MODEL_REPOSITORY), reason="no speaker encoder: python -m export speakers"),
    pytest.mark.skipif(not HUMAN_SPEECH.is_dir(), reason=f"human speech is not at {HUMAN_SPEECH}"),
]


@pytest.fixture(scope="module")
def encoder():
    return encoder_room.SpeakerEncoder(speaker_folder(MODEL_REPOSITORY))


def heard(encoder, pcm, spans, **options):
    asking = stretch.turns_of(pcm, np.array(spans, dtype=np.int32), encoder.record, **options)
    windows = next(asking)
    try:
        while True:
            assert windows.shape[1:] == (encoder.frames, encoder.record.num_mels)
            windows = asking.send(encoder.embed(windows))
    except StopIteration as stopped:
        return stopped.value


def thirds(start, end):
    """Three words of a turn."""
    edges = np.linspace(start, end, 4).astype(int).tolist()
    return list(itertools.pairwise(edges))


def test_a_turn_ends_where_somebody_else_begins(encoder):
    """Most boundaries between speakers who follow each other at once are found, few within a turn."""
    right = missed = wrong = 0
    for seed in range(500, 508):
        talk = meeting(2, 8, seed)
        order = [turn for turn in talk.turns if turn.end - turn.start > 16_000]
        pause = np.zeros(7_000, dtype=np.float32)
        pcm = np.concatenate([part for turn in order for part in (talk.pcm[turn.start : turn.end], pause)])
        ends = np.cumsum([turn.end - turn.start + pause.size for turn in order]).tolist()
        starts = [0, *ends[:-1]]
        spans = [span for start, end in zip(starts, ends, strict=True) for span in thirds(start, end - pause.size)]
        firsts = {turn.first for turn in heard(encoder, pcm, spans)} - {0}
        truth = {3 * n for n in range(1, len(order)) if order[n].speaker != order[n - 1].speaker}
        right, missed, wrong = right + len(firsts & truth), missed + len(truth - firsts), wrong + len(firsts - truth)
    assert right > 2 * missed
    assert right > 2 * wrong


def test_voices_do_not_depend_on_loudness(encoder):
    talk = meeting(2, 4, 600)
    spans = [(turn.start, turn.end) for turn in talk.turns]
    loud = heard(encoder, talk.pcm, spans, divided=True)
    soft = heard(encoder, talk.pcm * np.float32(0.03), spans, divided=True)
    assert [turn.first for turn in loud] == [0, 1, 2, 3]
    quiet = heard(encoder, talk.pcm * np.float32(0.01), spans, divided=True)
    for one, other in zip(soft, quiet, strict=True):
        assert float(one.voice @ other.voice) > 0.999


def test_a_long_pause_ends_a_turn_whoever_speaks(encoder):
    rng = np.random.default_rng(0)
    pcm = (0.05 * rng.standard_normal(64_000)).astype(np.float32)
    turns = heard(encoder, pcm, [(0, 16_000), (32_000, 40_000), (41_000, 50_000)])
    assert turns[0].last == 0
    assert turns[1].first == 1


def test_the_shortest_speech_has_a_voice(encoder):
    (turn,) = heard(encoder, np.full(200, 0.1, dtype=np.float32), [(0, 200)])
    assert np.linalg.norm(turn.voice) == pytest.approx(1.0, abs=1e-3)
    assert len(people()) >= 5
