"""Words of a recording's segments: beside the text, never in its way. What answers here is scripted."""

import asyncio
import contextlib
import json

import numpy as np
import pytest

from frontend.api.transcription_answers import events, whole
from frontend.api.transcription_request import checked_request
from frontend.audio import attempts, word_times
from frontend.audio.recordings import Options, Recording
from frontend.audio.segments import Segment, SegmentRules
from frontend.audio.subtitles import SubtitleLayout
from frontend.audio.timed import Timed
from frontend.audio.transcript import Transcript
from frontend.audio.word_times import WordTimes
from frontend.audio.words import Word
from frontend.errors import ApiError
from frontend.triton.client import Delta, TritonRefused, TritonUnavailable

RULES = SegmentRules(max_s=2.0, early_s=1.0)
GONE, BUSY = TritonUnavailable("gone"), TritonRefused("try again later", busy=True)
USAGE = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens", "audio_tokens"), 1)


class Client:
    """Hears every segment as its number, and its words as `find` says: what it returns, or raises where it is an
    error."""

    def __init__(self, find):
        self.find = find
        self.heard = []
        self.asked = []

    async def vad(self, pcm, state):
        """A window in ten is silent."""
        return (np.arange(pcm.size // 512) % 10 < 9).astype(np.float32), state

    async def transcribe(self, pcm, *, request_id, **_):
        text = f"no {len(self.heard)}"
        self.heard.append(text)
        result = {"text": text, "language": "English", "finish_reason": "stop", "usage": USAGE, "timings_ms": {}}
        yield Delta(text, (1,), (text.encode(),), (-0.1,), result)


@pytest.fixture(autouse=True)
def scripted(monkeypatch):
    monkeypatch.setattr(attempts, "RETRY_FIRST_S", 0.001)
    monkeypatch.setattr(attempts, "RETRY_MOST_S", 0.002)

    async def aligned(client, pcm, text, *, timeout_s, **asked):
        client.asked.append((text, pcm.size, timeout_s, asked))
        told = client.find(text, len(client.asked) - 1)
        if asyncio.iscoroutine(told):
            told = await told
        if isinstance(told, Exception):
            raise told
        return told

    monkeypatch.setattr(word_times, "aligned", aligned)


def found(text, *_):
    first, second = text.split(" ")
    return [Word(first, 0.08, 0.4, 0.9), Word(second, 0.48, 0.8, 0.5, " ")]


def recording(client, seconds=8, at_a_time=2, **options):
    async def connected():
        return client

    parts = iter([np.zeros(16_000, dtype=np.float32)] * seconds)
    return Recording(connected, parts, Options("name", rules=RULES, words=True, **options), at_a_time, None)


async def heard(client, **options):
    transcript = Transcript()
    async for piece in recording(client, **options).pieces():
        transcript.add(piece)
    return transcript


async def test_words_are_in_the_recordings_time_and_are_asked_of_their_own_segment():
    client = Client(found)
    transcript = await heard(client, priority=3)
    assert len(transcript.segments) >= 3
    for number, segment in enumerate(transcript.segments):
        assert [word.text for word in segment.words] == ["no", f" {number}"]
        assert segment.words[0].start == pytest.approx(segment.start + 0.08)
        assert segment.words[-1].end == pytest.approx(segment.start + 0.8)
        text, samples, _, asked = client.asked[number]
        assert text == segment.text
        assert samples == round((segment.end - segment.start) * 16_000)
        assert (asked["language"], asked["priority"], asked["request_id"]) == ("English", 3, "name")


async def test_text_does_not_wait_for_its_words_and_later_segments_are_heard_meanwhile():
    gate = asyncio.Event()

    async def late(text):
        await gate.wait()
        return found(text)

    client = Client(lambda text, number: late(text) if number == 0 else found(text))
    async with contextlib.aclosing(recording(client).pieces()) as pieces:
        first = await asyncio.wait_for(anext(pieces), 5)
        assert (first.text, first.segment) == ("no 0", None)
        async with asyncio.timeout(5):
            while len(client.asked) < 3:
                await asyncio.sleep(0.001)
        gate.set()
        segments = [piece.segment.text async for piece in pieces if piece.segment is not None]
    assert segments == client.heard


async def test_no_more_segments_are_in_work_than_may_be():
    gate = asyncio.Event()

    async def late(text):
        await gate.wait()
        return found(text)

    client = Client(lambda text, _: late(text))
    reading = asyncio.create_task(heard(client, at_a_time=2))
    async with asyncio.timeout(5):
        while len(client.asked) < 2:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    assert len(client.heard) == 2
    gate.set()
    assert len((await asyncio.wait_for(reading, 5)).segments) > 2


async def test_who_leaves_ends_what_is_asked_for_words():
    ended = asyncio.Event()

    async def never():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    client = Client(lambda *_: never())
    async with contextlib.aclosing(recording(client).pieces()) as pieces:
        await asyncio.wait_for(anext(pieces), 5)
        async with asyncio.timeout(5):
            while not client.asked:
                await asyncio.sleep(0.001)
    await asyncio.wait_for(ended.wait(), 5)


@pytest.mark.parametrize("failure", [GONE, BUSY, TritonRefused("Stub process is not healthy")])
async def test_words_that_fail_are_asked_again(failure):
    client = Client(lambda text, number: failure if number in (0, 1) else found(text))
    transcript = await heard(client, seconds=1)
    assert [word.word for word in transcript.segments[0].words] == ["no", "0"]
    assert len(client.heard) == 1
    assert len(client.asked) == 3


@pytest.mark.parametrize(
    ("failure", "asked"),
    [
        (TritonRefused("the aligner does not know Arabic", invalid=True), 1),
        (TritonRefused("it fails"), 6),
        (GONE, None),
    ],
)
async def test_a_text_that_is_known_is_told_without_its_words(failure, asked):
    client = Client(lambda *_: failure)
    transcript = await heard(client, seconds=1, patience_s=0.05)
    (segment,) = transcript.segments
    assert (transcript.text, segment.words, segment.words_error) == ("no 0", (), str(failure))
    assert asked is None or len(client.asked) == asked


async def test_one_segment_without_words_costs_the_others_nothing():
    client = Client(lambda text, _: TritonRefused("no", invalid=True) if text == "no 1" else found(text))
    transcript = await heard(client)
    assert [bool(one.words) for one in transcript.segments] == [n != 1 for n in range(len(transcript.segments))]


async def connected_to(client):
    return client


async def test_a_recording_waits_long_only_once_for_an_aligner_that_is_away():
    """Else the words that are not there would cost hours of text their time."""
    clock = []

    def find(text, _):
        return GONE if clock else found(text)

    client = Client(find)
    times = WordTimes(lambda: connected_to(client), priority=2, request_id="name", patience_s=0.2)
    segment = Segment(0, np.zeros(16_000, dtype=np.float32))

    async def patience():
        began = asyncio.get_running_loop().time()
        timed = await times.added(Timed(0, 1, "no 0"), segment, None)
        return timed, asyncio.get_running_loop().time() - began

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(word_times, "LATER_PATIENCE_S", 0.02)
        clock.append("away")
        (first, long), (second, short) = await patience(), await patience()
        assert first.words_error == second.words_error == "gone"
        assert short < long / 2
        clock.clear()
        back, _ = await patience()
        assert back.words
        clock.append("away")
        _, again = await patience()
        assert again > 2 * short


async def test_a_word_ends_with_its_segment():
    """A clip below half a second is heard with silence behind it."""
    client = Client(lambda *_: [Word("one", 0.08, 0.16, 0.9), Word("two", 0.24, 0.5, 0.9, " ")])
    times = WordTimes(lambda: connected_to(client), priority=2, request_id="name")
    timed = await times.added(Timed(10, 10.2, "one two"), Segment(160_000, np.zeros(3_200, dtype=np.float32)), None)
    assert [(word.start, word.end) for word in timed.words] == [(10.08, 10.16), (10.2, 10.2)]


def request(**fields):
    plain = {"response_format": "verbose_json", "stream": False, "language": None, "prompt": None, "temperature": 0.0}
    return checked_request(**{**plain, "has_aligner": True, **fields})


@pytest.mark.parametrize(
    ("granularities", "keys"),
    [
        ((), {"segments"}),
        (("segment",), {"segments"}),
        (("word",), {"words"}),
        (("word", "segment"), {"words", "segments"}),
    ],
)
async def test_verbose_json_has_what_was_asked_for(granularities, keys):
    transcript = await heard(Client(found), seconds=1)
    answer = whole(request(timestamp_granularities=granularities), transcript, 1.0, {})
    assert json.loads(answer.body).keys() & {"words", "segments", "words_error"} == keys


async def test_answers_say_which_words_are_not_known():
    client = Client(lambda text, _: TritonRefused("too many words", invalid=True) if text == "no 1" else found(text))
    transcript = await heard(client)
    body = json.loads(whole(request(timestamp_granularities=["word"]), transcript, 8.0, {}).body)
    assert body["words_error"] == "too many words"
    assert body["text"] == transcript.text
    assert [word["word"] for word in body["words"][:3]] == ["no", "0", "no"]
    assert "1" not in [word["word"] for word in body["words"]]

    streamed = Transcript()

    async def pieces():
        async for piece in recording(client).pieces():
            streamed.add(piece)
            yield piece

    client.heard.clear()
    wanted = request(response_format="json", stream=True, timestamp_granularities=["word"])
    told = [json.loads(line.removeprefix("data: ")) async for line in events(wanted, pieces(), streamed)]
    words = [event for event in told if event["type"] == "transcript.text.words"]
    assert [event["id"] for event in words] == [f"seg_{n}" for n in range(len(words))]
    assert [event.get("words_error") for event in words][:3] == [None, "too many words", None]
    assert words[1]["words"] == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
        ({"response_format": "srt", "layout": SubtitleLayout(max_line_width=30)}, "max_line_width"),
    ],
)
def test_who_asks_for_words_where_there_are_none_is_told_so(fields, param):
    assert request(**fields).words
    with pytest.raises(ApiError) as raised:
        request(**fields, has_aligner=False)
    assert (raised.value.status, raised.value.param) == (400, param)
    assert raised.value.code == "word_timestamps_unavailable"
