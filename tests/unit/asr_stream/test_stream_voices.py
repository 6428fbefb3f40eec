"""Who speaks in live finals: told behind them or inside of them, corrected later, and whatever becomes of the room."""

import asyncio

import numpy as np
import pytest

from export.rooms import room
from perf.models.local_rooms import LocalRooms
from tests.conftest import TINY
from tests.unit.asr_stream.stream_kit import Fed, silence

voices_room, beside, rooms_room, settings_room = (
    room("asr_stream", name) for name in ("voices", "beside", "rooms", "settings")
)
RoomFailed, Voiced = rooms_room.RoomFailed, rooms_room.Voiced


class Voices:
    """The rooms' own code with speakers of the test's: `who` says by the utterance's place who speaks in which turn."""

    has_voices = True

    def __init__(self, rooms, who):
        self._rooms, self.who = rooms, who
        self.asked = []

    def __getattr__(self, name):
        return getattr(self._rooms, name)

    async def voices(self, pcm, judged, state, priority):
        self.asked.append((pcm.size, judged, state, priority))
        # A final may be asked for ahead, and again: what counts is what the session goes on from.
        number = int(state.split()[1]) + 1 if state else 0
        speakers = await self.who(number)
        turns = [(0, pcm.size // 3), (pcm.size // 3, pcm.size)]
        return Voiced([2 * number, 2 * number + 1], turns, speakers, b"state %d" % number)


@pytest.fixture(scope="module")
def local():
    made = LocalRooms.of(TINY)
    yield made
    made.close()


def table(*rows):
    """After each call, who speaks in all turns so far."""

    async def who(number):
        return dict(enumerate(rows[number]))

    return who


async def heard(local, english, who, mode, times=1, **options):
    rooms = Voices(local, who)
    fed = Fed(rooms, speakers=mode, **options)
    for number in range(times):
        await fed.feed(np.concatenate([english, silence(1.0, number)]), iter(lambda: 3_200, None))
    return rooms, await fed.end()


def told(events, kind):
    return [event for event in events if event["type"] == kind]


async def test_a_speaker_follows_the_final_and_is_corrected_by_its_number(local, english):
    rooms, events = await heard(local, english, table((0, 0), (0, 0, 1, 1), (1, 1, 1, 1, 0, 1)), "event", times=3)
    finals, speakers = told(events, "final"), told(events, "speaker")
    assert all(final["speaker_follows"] is True and "speaker" not in final for final in finals)
    assert [(event["utterance"], event["speaker"]) for event in speakers] == [(1, "A"), (2, "B"), (3, "B"), (1, "B")]
    # Of the third one a part is somebody else's.
    start = finals[2]["start"]
    assert [turn["speaker"] for turn in speakers[2]["turns"]] == ["A", "B"]
    assert speakers[2]["turns"][0]["start"] == pytest.approx(start)
    assert all("turns" not in event for event in speakers[:2])
    # Each goes on from the one before, with what the detector of speech said.
    assert [state for _, _, state, _ in rooms.asked] == [b"", b"state 0", b"state 1"]
    assert {priority for *_, priority in rooms.asked} == {2}
    for samples, judged, _, _ in rooms.asked:
        assert samples // 512 - 12 <= judged.size <= samples // 512
        assert judged.max() > 0.9


async def test_a_final_says_who_speaks_where_that_is_asked(local, english):
    rooms, events = await heard(local, english, table((0, 0), (1, 1, 0, 0)), "final", times=2)
    finals = told(events, "final")
    assert [final["speaker"] for final in finals] == ["A", "A"]
    assert all("speaker_follows" not in final for final in finals)
    assert [(event["utterance"], event["speaker"]) for event in told(events, "speaker")] == [(1, "B")]
    assert rooms.asked[-1][-1] == 1


async def test_what_was_asked_ahead_counts_only_where_nothing_was_told_since(local, english):
    """The setting changes while the first one's answer is still awaited: the second goes on from it."""
    going = asyncio.Event()

    async def slow(number):
        if number == 0:
            await going.wait()
        return dict(enumerate([0, 0, 1, 1][: 2 * number + 2]))

    rooms = Voices(local, slow)
    fed = Fed(rooms, speakers="event")
    await fed.feed(np.concatenate([english, silence(1.0)]), iter(lambda: 3_200, None))
    fed.session.command("settings", lambda before: before.changed({"speakers": "final"}))
    fed.session.push(np.concatenate([english, silence(1.0)]))
    await asyncio.sleep(0.3)
    going.set()
    events = await fed.end()
    assert [(event["utterance"], event["speaker"]) for event in told(events, "speaker")] == [(1, "A")]
    assert told(events, "final")[1]["speaker"] == "B"
    assert rooms.asked[-1][2] == b"state 0"


async def test_letters_go_on_behind_those_of_a_session_that_was_lost(local, english):
    overlap = settings_room.checked_overlap({"told_speakers": 26}, start=True)
    _, events = await heard(local, english, table((0, 0)), "event", overlap=overlap)
    assert told(events, "speaker")[0]["speaker"] == "AA"


@pytest.mark.parametrize("mode", ["event", "final"])
async def test_a_final_is_told_although_the_room_fails(local, english, mode):
    async def fails(number):
        raise RoomFailed("speakers failed: it is broken", invalid=True)

    _, events = await heard(local, english, fails, mode)
    assert told(events, "final")[0]["text"]
    (one,) = [event for event in events if "speaker_error" in event]
    assert one["type"] == ("speaker" if mode == "event" else "final")
    assert (one["speaker"], one["speaker_error"]) == ("", "speakers failed: it is broken")


async def test_a_room_that_never_answers_holds_no_session(local, english, monkeypatch):
    monkeypatch.setattr(beside, "LAST_S", 0.2)

    async def silent(number):
        await asyncio.sleep(3_600)

    _, events = await heard(local, english, silent, "event", times=2)
    assert {event["speaker_error"] for event in told(events, "speaker")} == {
        "the session ended before it was known who speaks"
    }
    assert [event["utterance"] for event in told(events, "speaker")] == [1, 2]
    assert events[-1]["type"] == "closed"


async def test_off_asks_nobody_and_where_nobody_can_tell_the_setting_is_refused(local, english):
    rooms, _ = await heard(local, english, table((0, 0)), "off")
    assert rooms.asked == []
    rooms = Voices(local, table())
    rooms.has_voices = False
    fed = Fed(rooms, speakers="event")
    (error, closed) = await fed.end()
    assert (error["code"], error["fatal"]) == ("invalid", True)
    assert "no speaker encoder is exported" in error["message"]
    assert closed["type"] == "closed"


def test_what_is_kept_of_a_long_session_is_bounded(local):
    """The room tells of thousands of turns with every answer; those that may be corrected are kept."""
    said = []
    voices = voices_room.Voices(Voices(local, table()), said.append)
    heard_text = rooms_room.Heard("one", "English", [])
    for number in range(600):
        newest = {turn: turn % 2 for turn in range(max(0, number - 450), number + 1)}
        answer = Voiced([number], [(0, 100)], newest, b"state")
        voices.take(beside.Said(number, 0, np.zeros(100, dtype=np.float32), heard_text), answer)
        voices.correct()
    assert said == []
    assert len(voices._utterances) == len(voices._of_turn) == voices_room.MOST_CORRECTED


def test_what_the_detector_said_is_said_anew():
    judged = voices_room.Judged()
    for start in range(0, 5_120, 512):
        judged.add(start, 0.1)
    judged.add(2_048, 0.9)
    judged.add(2_560, 0.8)
    assert judged.of(1_000, 3_072).tolist() == pytest.approx([0.1, 0.1, 0.9, 0.8])
    assert judged.of(4_000, 9_000) is None
