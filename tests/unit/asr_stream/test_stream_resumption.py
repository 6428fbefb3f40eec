"""A session that goes on in another one, as a journal has it sent again, says what the first would have said."""

import itertools

import numpy as np
import pytest

from export.rooms import room
from frontend.triton.journal import Journal
from perf.models.local_rooms import LocalRooms
from perf.speech.conversations import conversation
from tests.conftest import TINY
from tests.unit.asr_stream.stream_kit import Fed

CHUNK = 1_600
# No partials: what is compared are utterances. The pause is about as long as some within what is said.
SETTINGS = {"partial_interval_ms": 60_000, "silence_ms": 500}


@pytest.fixture(scope="module")
def rooms():
    made = LocalRooms.of(TINY)
    yield made
    made.close()


def shown(events):
    names = ("utterance", "text", "start_sample", "end_sample")
    return [tuple(event[name] for name in names) for event in events if event["type"] == "final"]


def as_floats(pcm16):
    return np.frombuffer(pcm16, dtype="<i2").astype(np.float32) / 32_768


async def said(rooms, pcm16, lost_at=None):
    """Finals of a session; the one that it began with is lost at this sample."""
    journal, told = Journal(), []
    journal.note(b"", SETTINGS, end=False)
    fed = Fed(rooms, **SETTINGS)

    def hear():
        told.extend(event for one in fed.events if (event := journal.told(one)) is not None)
        fed.events.clear()

    for start in range(0, len(pcm16) // 2, CHUNK):
        if lost_at is not None and start >= lost_at:
            lost_at = None
            fed.task.cancel()
            fed.events.clear()
            begin, *again = journal.again()
            overlap = room("asr_stream", "settings").checked_overlap(begin.parameters, start=True)
            fed = Fed(rooms, overlap=overlap, **SETTINGS)
            for sent in again:
                await fed.feed(as_floats(sent.pcm16), itertools.repeat(CHUNK))
                hear()
        chunk = pcm16[2 * start : 2 * (start + CHUNK)]
        journal.note(chunk, {}, end=False)
        await fed.feed(as_floats(chunk), itertools.repeat(CHUNK))
        hear()
    await fed.end()
    hear()
    return shown(told)


@pytest.mark.parametrize("seed", [962, 965])
async def test_utterances_are_the_same_wherever_the_first_session_is_lost(rooms, seed):
    pcm16 = np.round(conversation(3, seed).pcm * 32_767).astype("<i2").tobytes()
    undisturbed = await said(rooms, pcm16)
    assert len(undisturbed) > 2
    for lost_at in range(12_345, len(pcm16) // 2, 17_777):
        assert await said(rooms, pcm16, lost_at) == undisturbed, lost_at
