"""Words of live finals: told behind them or inside of them, in order, and whatever becomes of the aligner."""

import asyncio
import itertools

import numpy as np
import pytest

from export.rooms import room
from perf.models.local_rooms import LocalRooms
from tests.conftest import TINY
from tests.unit.asr_stream.stream_kit import Fed, silence

aligning, beside, rooms_room = (room("asr_stream", name) for name in ("aligning", "beside", "rooms"))
RoomFailed = rooms_room.RoomFailed


class Aligned:
    """The rooms' own code with an aligner of the test's: `words` is what it answers, or raises."""

    can_align = True

    def __init__(self, rooms, answer):
        self._rooms, self.answer = rooms, answer
        self.asked = []

    def __getattr__(self, name):
        return getattr(self._rooms, name)

    async def align(self, pcm, text, language, priority):
        self.asked.append((pcm.size, text, language, priority))
        return await self.answer(pcm, text)


@pytest.fixture(scope="module")
def local():
    made = LocalRooms.of(TINY)
    yield made
    made.close()


async def evenly(pcm, text):
    """Every word as long as the others."""
    words = text.split()
    edges = np.linspace(0, pcm.size, len(words) + 1).astype(int).tolist()
    return [(word, *span, 0.5) for word, span in zip(words, itertools.pairwise(edges), strict=True)]


async def heard(local, english, answer, mode, times=1):
    rooms = Aligned(local, answer)
    fed = Fed(rooms, word_timestamps=mode)
    for number in range(times):
        await fed.feed(np.concatenate([english, silence(1.0, number)]), iter(lambda: 3_200, None))
    return rooms, await fed.end()


def kinds(events, *wanted):
    return [event["type"] for event in events if event["type"] in wanted]


async def test_words_follow_their_final_in_the_sessions_time(local, english):
    rooms, events = await heard(local, english, evenly, "event", times=2)
    assert kinds(events, "final", "words") == ["final", "words", "final", "words"]
    finals, words = ([event for event in events if event["type"] == kind] for kind in ("final", "words"))
    for final, told in zip(finals, words, strict=True):
        assert final["words_follow"] is True
        assert "words" not in final
        assert told["utterance"] == final["utterance"]
        assert [word["word"] for word in told["words"]] == final["text"].split()
        assert told["words"][0]["start"] == pytest.approx(final["start"], abs=0.002)
        assert told["words"][-1]["end"] == pytest.approx(final["end"], abs=0.002)
    # Behind the final they can wait; nothing live is to wait for them.
    assert {priority for *_, priority in rooms.asked} == {2}


async def test_a_final_has_them_inside_where_that_is_asked(local, english):
    rooms, events = await heard(local, english, evenly, "final")
    (final,) = [event for event in events if event["type"] == "final"]
    assert [word["word"] for word in final["words"]] == final["text"].split()
    assert "words_follow" not in final
    assert kinds(events, "words") == []
    assert rooms.asked[-1][-1] == 1


async def test_off_asks_nobody(local, english):
    rooms, events = await heard(local, english, evenly, "off")
    assert rooms.asked == []
    assert kinds(events, "final", "words") == ["final"]


@pytest.mark.parametrize("mode", ["event", "final"])
async def test_a_final_is_told_although_the_aligner_fails(local, english, mode):
    async def fails(pcm, text):
        raise RoomFailed("aligner failed: it is broken", invalid=True)

    _, events = await heard(local, english, fails, mode)
    (final,) = [event for event in events if event["type"] == "final"]
    assert final["text"]
    (told,) = [event for event in events if "words_error" in event]
    assert told["type"] == ("words" if mode == "event" else "final")
    assert told["words"] == []
    assert told["words_error"] == "aligner failed: it is broken"


async def test_an_aligner_that_is_away_for_a_moment_is_asked_again(local, english):
    times = iter(range(10))

    async def away(pcm, text):
        if next(times) < 2:
            raise RoomFailed("UNAVAILABLE: it is loaded again")
        return await evenly(pcm, text)

    rooms, events = await heard(local, english, away, "event")
    assert len(rooms.asked) == 3
    (told,) = [event for event in events if event["type"] == "words"]
    assert told["words"]


async def test_an_aligner_that_never_answers_holds_no_session(local, english, monkeypatch):
    monkeypatch.setattr(beside, "LAST_S", 0.2)

    async def silent(pcm, text):
        await asyncio.sleep(3_600)

    _, events = await heard(local, english, silent, "event", times=2)
    told = [event for event in events if event["type"] == "words"]
    assert [event["utterance"] for event in told] == [1, 2]
    assert {event["words_error"] for event in told} == {"the session ended before its words were known"}
    assert events[-1]["type"] == "closed"


async def test_a_final_that_waits_for_its_words_waits_no_longer_than_patience(local, english, monkeypatch):
    monkeypatch.setattr(beside, "PATIENCE_S", 0.2)

    async def silent(pcm, text):
        await asyncio.sleep(3_600)

    _, events = await heard(local, english, silent, "final")
    (final,) = [event for event in events if event["type"] == "final"]
    assert final["text"]
    assert final["words_error"] == "the aligner did not answer in time"


async def test_only_so_many_wait_for_their_words(local):
    said = []
    going = asyncio.Event()

    async def slow(pcm, text):
        await going.wait()
        return await evenly(pcm, text)

    waiting = aligning.Aligning(Aligned(local, slow), said.append)
    text = rooms_room.Heard("one", "English", [])
    for number in range(beside.MOST_WAITING + 2):
        waiting.follow(beside.Said(number, 0, np.zeros(1_600, dtype=np.float32), text), 2)
    assert [event["words_error"] for event in said] == [aligning.Aligning.too_many] * 2
    going.set()
    await waiting.settle()
    assert [event["utterance"] for event in said[2:]] == list(range(beside.MOST_WAITING))
    assert all(event["words"] for event in said[2:])


async def test_where_words_cannot_have_times_the_setting_is_refused(local, english):
    rooms = Aligned(local, evenly)
    rooms.can_align = False
    fed = Fed(rooms)
    fed.session.command("settings", lambda before: before.changed({"word_timestamps": "event"}))
    await fed.feed(english, iter(lambda: 3_200, None))
    events = await fed.end()
    (error,) = [event for event in events if event["type"] == "error"]
    assert error["code"] == "invalid"
    assert not error["fatal"]
    assert rooms.asked == []
