"""Who speaks, as far as the frontend has to do with it: fields, names, cutting segments, and their order."""

import asyncio
import base64

import numpy as np
import pytest

from frontend.api import speakers_request
from frontend.api.speakers_request import checked_speakers
from frontend.api.transcription_request import checked_request
from frontend.audio.segments import Segment
from frontend.audio.speakers import Speakers, Wanted, _divided
from frontend.audio.subtitles import srt, vtt
from frontend.audio.timed import Timed, Token
from frontend.audio.words import Word
from frontend.errors import ApiError
from frontend.triton.client import TritonRefused, TritonUnavailable
from frontend.triton.speaking import Apart

SOUND = "data:audio/wav;base64," + base64.b64encode(b"RIFF").decode()


def asked(names=(), references=(), least=None, most=None, *, diarize=False):
    return checked_speakers(names, references, least, most, diarize=diarize)


def test_no_field_asks_for_nothing():
    assert asked() is None
    assert asked(diarize=True).named == "diarize"
    assert asked(["Ann "], [SOUND]) == speakers_request.SpeakersRequest(
        ("Ann",), (b"RIFF",), named="known_speaker_names"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((["Ann"], []), "each name has a reference"),
        (([], [SOUND]), "each name has a reference"),
        (([str(n) for n in range(5)], [SOUND] * 5), "4 known speakers are the most"),
        ((["  "], [SOUND]), "characters that can be printed"),
        ((["a\nb"], [SOUND]), "characters that can be printed"),
        ((["x" * 65], [SOUND]), "characters that can be printed"),
        ((["Ann", "Ann "], [SOUND] * 2), "two known speakers have one name"),
        ((["Ann"], ["https://example.org/a.wav"]), "are data URLs of sound"),
        ((["Ann"], ["data:text/plain;base64,QQ=="]), "are data URLs of sound"),
        ((["Ann"], [SOUND + "!"]), "is not base64"),
        ((["Ann"], ["data:audio/wav;base64," + "A" * 4_000_000]), "has more than 2500000 bytes"),
        (((), (), 3, 2), "more than max_speakers"),
        ((["Ann", "Bo"], [SOUND] * 2, None, 1), "max_speakers is 1, and 2 are known"),
        ((["Ann"], ["data:audio/wav" + ";a=b" * 9 + ";base64,QQ=="]), "are data URLs of sound"),
    ],
)
def test_a_mistake_names_its_field(fields, message):
    with pytest.raises(ApiError, match=message) as refused:
        asked(*fields)
    assert refused.value.status == 400
    assert refused.value.param


def test_what_goes_with_speakers():
    with pytest.raises(ApiError, match="no speaker encoder is exported") as refused:
        checked_request(response_format="diarized_json")
    assert refused.value.code == "speakers_unavailable"
    with pytest.raises(ApiError, match="speakers go with the response_format"):
        checked_request(response_format="json", speakers=asked(diarize=True), has_speakers=True)
    for form in ("verbose_json", "srt", "vtt", "diarized_json"):
        wanted = checked_request(response_format=form, speakers=asked(diarize=True), has_speakers=True)
        assert wanted.rules is not None
        assert not wanted.words
    wanted = checked_request(response_format="diarized_json", has_speakers=True, has_aligner=True)
    assert (wanted.words, wanted.tells_words) == (True, False)


def test_letters_go_on_behind_z_and_leave_out_what_somebody_is_called():
    wanted = Wanted(names=("B", "Ann"))
    assert [wanted.name(number) for number in (0, 1, 2, 3, 26, 27)] == ["B", "Ann", "A", "C", "Z", "AA"]


def word(text, start, end, before=" "):
    return Word(text, start, end, 0.9, before)


def apart(turns, speakers):
    places = np.array(turns, dtype=np.int32) * 16_000
    return Apart(places, list(range(len(turns))), dict(enumerate(speakers)), b"state")


def test_a_segment_is_cut_between_words_where_the_turn_ends():
    words = (word("one", 10.0, 10.4, ""), word("two", 10.5, 11.1), word("three", 11.2, 11.9), word("four", 12, 12.5))
    tokens = tuple(
        Token(number, text.encode(), -0.1) for number, text in enumerate(("one", " two", " th", "ree", " four"))
    )
    timed = Timed(9.8, 12.8, "one two three four", tokens, words, segment=3)
    segment = Segment(int(9.8 * 16_000), np.zeros(48_000, dtype=np.float32))
    # The second turn begins within "two", of which most is the first one's.
    parts = _divided(timed, apart([(0, 1.2), (1.25, 3)], [0, 1]), segment)
    assert [(part.text, part.turn) for part in parts] == [("one two", 0), ("three four", 1)]
    assert [(part.start, part.end) for part in parts] == [(9.8, 11.1), (11.2, 12.8)]
    assert [[token.id for token in part.tokens] for part in parts] == [[0, 1], [2, 3, 4]]
    assert {part.segment for part in parts} == {3}


class Asked:
    """Speakers of a recording whose room answers by the segment's first sample."""

    def __init__(self, monkeypatch, answers):
        self.calls = []

        async def told_apart(client, pcm, **how):
            self.calls.append((float(pcm[0]), how["state"], how["known"]))
            answer = answers[len(self.calls) - 1]
            if isinstance(answer, Exception):
                raise answer
            return answer

        async def connected():
            return None

        monkeypatch.setattr("frontend.audio.speakers.told_apart", told_apart)
        self.speakers = Speakers(connected, Wanted(), 2, "test", patience_s=0.1)

    async def ask(self, number, text="one"):
        segment = Segment(number * 16_000, np.full(16_000, number, dtype=np.float32))
        try:
            return await self.speakers.added(number, Timed(number, number + 1, text, segment=number), segment)
        finally:
            await self.speakers.done(number)


async def test_segments_are_asked_in_order_whichever_is_known_first(monkeypatch):
    answers = [apart([(0, 1)], [0]), Apart(np.array([[0, 16_000]]), [1], {0: 0, 1: 1}, b"second")]
    room = Asked(monkeypatch, answers)
    later = asyncio.create_task(room.ask(2))
    empty = asyncio.create_task(room.ask(1, text=""))
    await asyncio.sleep(0)
    assert room.calls == []
    assert (await room.ask(0)).speaker == "A"
    assert (await later).speaker == "B"
    assert (await empty).speaker == ""
    assert [(place, state) for place, state, _ in room.calls] == [(0, b""), (2, b"state")]


async def test_a_segment_that_is_done_before_those_in_front_of_it_passes_no_turn(monkeypatch):
    room = Asked(monkeypatch, [apart([(0, 1)], [0]), apart([(0, 1)], [0])])
    for empty in (1, 2):
        await room.speakers.done(empty)
    assert (await asyncio.wait_for(room.ask(0), 5)).speaker == "A"
    assert (await asyncio.wait_for(room.ask(3), 5)).speaker == "A"


async def test_references_are_known_all_or_none(monkeypatch):
    """The second one's failure sends both again: their places are their names."""
    known = Apart(np.empty((0, 2), np.int32), [], {}, b"one")
    both = Apart(np.empty((0, 2), np.int32), [], {}, b"both")
    answers = [known, TritonRefused("INVALID_ARGUMENT: no", invalid=True), known, both, apart([(0, 1)], [1])]
    room = Asked(monkeypatch, answers)
    voices = tuple(np.full(3, value, dtype=np.float32) for value in (8, 9))
    room.speakers.wanted = Wanted(("Ann", "Bo"), voices, voices)
    assert (await room.ask(0)).speaker_error
    assert (await room.ask(1)).speaker == "Bo"
    assert [call[0] for call in room.calls] == [8, 9, 8, 9, 1]
    assert [call[1] for call in room.calls] == [b"", b"one", b"", b"one", b"both"]


async def test_after_one_waited_in_vain_others_wait_less(monkeypatch):
    room = Asked(monkeypatch, [TritonUnavailable("gone")] * 30)
    room.speakers.patience_s = room.speakers._patience_s = 20.0
    monkeypatch.setattr("frontend.audio.speakers.LATER_PATIENCE_S", 0.01)
    room.speakers._patience_s = 0.3
    await room.ask(0)
    assert room.speakers._patience_s == 0.01


async def test_a_text_is_told_although_nobody_can_say_whose_it_is(monkeypatch):
    answers = [TritonUnavailable("gone")] * 9
    room = Asked(monkeypatch, answers)
    told = await room.ask(0)
    assert (told.text, told.speaker) == ("one", "")
    assert told.speaker_error == "gone"


async def test_at_the_end_letters_are_in_the_order_of_appearance(monkeypatch):
    room = Asked(monkeypatch, [])
    room.speakers.of_turn = {0: 4, 1: 2, 2: 4, 3: 2}
    parts = [Timed(n, n + 1, str(n), segment=n // 2, turn=n) for n in range(4)]
    parts.append(Timed(4, 5, "4", segment=1, turn=3))
    told, joined = room.speakers.final(parts)
    assert told == ["A", "B", "A", "B", "B"]
    assert [(one.text, one.speaker) for one in joined] == [("0", "A"), ("1", "B"), ("2", "A"), ("3 4", "B")]


def test_subtitles_say_who_speaks():
    segments = [Timed(0, 1, "one <two>", speaker="A & B"), Timed(1, 2, "three")]
    assert "A & B: one <two>" in srt(segments)
    assert "\n<v A &amp; B>one &lt;two&gt;\n" in vtt(segments)
    assert "\nthree" in vtt(segments)
