"""Word times as users get them: by the openai client, as a stream, as subtitles, live; and what happens without."""

import asyncio
import contextlib
import json
import re
import shutil
import signal

import httpx
import pytest
import websockets

from perf.live_client import LiveClient
from perf.service import running_service
from tests.conftest import RECORDINGS
from tests.e2e.test_healing import process_of
from tests.endings import ended_later
from tests.integration.repositories import linked_repository

ENGLISH = "four two seven nine zero one five"
PLACES = "/v1/audio/transcriptions"
BOTH = ["word", "segment"]


def upload(name="english"):
    return {"file": (f"{name}.flac", (RECORDINGS / f"{name}.flac").read_bytes())}


def check_words(words, text, seconds):
    assert " ".join(word["word"] for word in words) == text
    times = [time for word in words for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] <= seconds
    assert all(0 < word["confidence"] <= 1 for word in words)


def test_the_openai_client_gets_words(openai_client):
    def asked(*granularities):
        return openai_client.audio.transcriptions.create(
            model="whisper-1",
            response_format="verbose_json",
            timestamp_granularities=[*granularities],
            file=("english.flac", (RECORDINGS / "english.flac").read_bytes()),
        )

    alone, both = asked("word"), asked("word", "segment")
    assert [word.word for word in alone.words] == ENGLISH.split()
    assert all(word.start <= word.end for word in alone.words)
    assert alone.segments is None
    assert [word.word for word in both.words] == ENGLISH.split()
    assert both.segments[0].start <= both.words[0].start
    assert both.words[-1].end <= both.segments[-1].end
    assert (
        openai_client.audio.transcriptions.create(
            model="whisper-1",
            response_format="verbose_json",
            file=("a.flac", (RECORDINGS / "english.flac").read_bytes()),
        ).words
        is None
    )


def test_words_of_a_long_recording_are_in_the_recordings_time(service, tmp_path, english):
    """Cut into segments that are aligned one by one, each in its place."""
    import numpy as np
    import soundfile

    quiet = np.zeros(16_000, dtype=np.float32)
    soundfile.write(tmp_path / "long.wav", np.concatenate([*[english, quiet] * 8]), 16_000)
    answer = httpx.post(
        service.url + PLACES,
        data={
            "model": "whisper-1",
            "response_format": "verbose_json",
            "timestamp_granularities[]": ["word", "segment"],
        },
        files={"file": ("long.wav", (tmp_path / "long.wav").read_bytes())},
        timeout=60,
    ).json()
    check_words(answer["words"], answer["text"], answer["duration"])
    assert answer["text"] == " ".join([ENGLISH] * 8)
    assert len(answer["segments"]) > 2
    for segment in answer["segments"]:
        inside = [w for w in answer["words"] if segment["start"] - 0.1 <= w["start"] <= segment["end"] + 0.1]
        assert " ".join(word["word"] for word in inside) == segment["text"]


def test_a_stream_tells_the_words_of_each_segment_behind_it(service):
    data = {"model": "whisper-1", "stream": "true", "timestamp_granularities[]": BOTH}
    with httpx.stream("POST", service.url + PLACES, data=data, files=upload(), timeout=60) as answer:
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    kinds = [event["type"].removeprefix("transcript.text.") for event in events]
    assert kinds[-1] == "done"
    assert [kind for kind in kinds if kind != "delta"] == ["segment", "words"] * kinds.count("segment") + ["done"]
    words = [word for event in events if event["type"].endswith("words") for word in event["words"]]
    check_words(words, ENGLISH, 4.25)
    by_kind = dict(zip(kinds, events, strict=True))
    assert by_kind["words"]["id"] == by_kind["segment"]["id"]


def test_the_openai_client_reads_a_stream_with_words(openai_client):
    with (RECORDINGS / "english.flac").open("rb") as file:
        stream = openai_client.audio.transcriptions.create(
            model="whisper-1", file=file, stream=True, timestamp_granularities=["word"]
        )
        told = list(stream)
    assert told[-1].text == ENGLISH
    assert "".join(event.delta for event in told if event.type == "transcript.text.delta") == ENGLISH
    words = [word for event in told if event.type == "transcript.text.words" for word in event.words]
    assert [word["word"] for word in words] == ENGLISH.split()
    # As with the whole answer: who asks for words alone gets no segments.
    assert "transcript.text.segment" not in {event.type for event in told}


@pytest.mark.parametrize(
    ("form", "fields", "pattern"),
    [
        (
            "srt",
            {"max_words_per_line": 3},
            r"1\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\nfour two seven\n\n2\n.*\nnine zero one\n",
        ),
        ("vtt", {"max_line_width": 12, "karaoke": "true"}, r"WEBVTT\n\n.*\nfour <00:00:0\d\.\d{3}>two\n"),
        ("vtt", {"highlight_words": "true", "max_words_per_line": 2}, r"WEBVTT\n\n.*\n<u>four</u> two\n"),
    ],
)
def test_subtitles_are_laid_out_at_words(service, form, fields, pattern):
    data = {"model": "whisper-1", "response_format": form, **fields}
    answer = httpx.post(service.url + PLACES, data=data, files=upload(), timeout=60)
    assert answer.status_code == 200
    assert re.match(pattern, answer.text), answer.text


def test_whispers_word_timestamps_is_known(service):
    data = {"response_format": "verbose_json", "word_timestamps": "true"}
    answer = httpx.post(f"{service.url}/api/v1/transcribe", data=data, files=upload(), timeout=60).json()
    check_words(answer["words"], ENGLISH, 4.25)
    assert answer["segments"]


async def spoken(service, pcm, **settings):
    """Events of a session by WebSocket that hears a recording twice."""
    async with websockets.connect(f"ws{service.url.removeprefix('http')}/ws/transcribe") as socket:
        await socket.send(json.dumps({"action": "config", **settings}))
        data = (pcm * 32_767).astype("<i2").tobytes()
        for _ in range(2):
            for start in range(0, len(data), 6_400):
                await socket.send(data[start : start + 6_400])
            await socket.send(bytes(64_000))
        await socket.send(json.dumps({"action": "end"}))
        return [json.loads(message) async for message in socket]


async def test_words_follow_a_live_final(service, english):
    events = await asyncio.wait_for(spoken(service, english, word_timestamps="event"), 60)
    finals = [event for event in events if event["type"] == "final"]
    assert [final["text"] for final in finals] == [ENGLISH, ENGLISH]
    assert all(final["words_follow"] and "words" not in final for final in finals)
    told = [event for event in events if event["type"] == "words"]
    assert [event["utterance"] for event in told] == [1, 2]
    for final, one in zip(finals, told, strict=True):
        assert events.index(final) < events.index(one)
        check_words(one["words"], ENGLISH, final["end"] + 0.01)
        assert one["words"][0]["start"] >= final["start"]
    assert events[-1]["type"] == "closed"


async def test_a_final_has_its_words_on_request(service, english):
    events = await asyncio.wait_for(spoken(service, english, word_timestamps="final"), 60)
    finals = [event for event in events if event["type"] == "final"]
    assert len(finals) == 2
    for final in finals:
        check_words(final["words"], ENGLISH, final["end"] + 0.01)
        assert "words_follow" not in final
    assert not [event for event in events if event["type"] == "words"]


async def test_a_live_session_asks_for_words_by_grpc(service, english):
    url = httpx.get(f"{service.url}/health").json()["triton"]["url"]
    async with LiveClient(url) as client:
        client.send(english, word_timestamps="event", vad="off")
        client.send(None, end=True)
        events = [event async for event in client.events()]
    (told,) = (event for event in events if event["type"] == "words")
    check_words(told["words"], ENGLISH, 4.26)


async def test_a_realtime_item_has_words(async_openai_client, english):
    import base64

    async with async_openai_client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        session = {
            "type": "transcription",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 16_000},
                    "transcription": {"model": "whisper-1", "word_timestamps": "event"},
                }
            },
        }
        await connection.send({"type": "session.update", "session": session})
        data = (english * 32_767).astype("<i2").tobytes() + bytes(64_000)
        for start in range(0, len(data), 32_000):
            part = base64.b64encode(data[start : start + 32_000]).decode()
            await connection.send({"type": "input_audio_buffer.append", "audio": part})
        seen = []
        async with asyncio.timeout(30):
            while not seen or not seen[-1]["type"].endswith("input_audio_transcription.words"):
                seen.append(json.loads(await connection.recv_bytes()))
    done = next(event for event in seen if event["type"].endswith("completed"))
    assert seen[-1]["item_id"] == done["item_id"]
    check_words(seen[-1]["words"], done["transcript"], 4.26)


class TestWhileAnAlignerIsLost:
    @pytest.fixture(scope="class")
    def healing(self, tmp_path_factory):
        with ended_later(running_service(ASR_CACHE_DIR=str(tmp_path_factory.mktemp("cache")))) as running:
            yield running

    @pytest.mark.parametrize(("model", "number"), [("aligner", signal.SIGKILL), ("encoder_aligner", signal.SIGSTOP)])
    async def test_files_get_their_words_when_it_is_back(self, healing, model, number):
        data = {"model": "whisper-1", "response_format": "verbose_json", "timestamp_granularities[]": "word"}
        async with httpx.AsyncClient(base_url=healing.url, timeout=90) as client:
            process_of(healing, model).send_signal(number)
            answers = await asyncio.gather(*(client.post(PLACES, data=data, files=upload()) for _ in range(4)))
            assert [answer.status_code for answer in answers] == [200] * 4
            for answer in answers:
                assert "words_error" not in answer.json()
                check_words(answer.json()["words"], ENGLISH, 4.25)
            async with asyncio.timeout(30):
                while (health := (await client.get("/health")).json())["healed"].get(model) != 1:
                    await asyncio.sleep(0.1)
            assert health["word_timestamps"] is True


class TestWithoutAnAligner:
    @pytest.fixture(scope="class")
    def plain(self, tmp_path_factory):
        repository = linked_repository(tmp_path_factory.mktemp("repository"), {})
        for room in ("aligner", "encoder_aligner", "align"):
            shutil.rmtree(repository / room)
        cache = str(tmp_path_factory.mktemp("cache"))
        with ended_later(running_service(ASR_CACHE_DIR=cache, ASR_MODEL_REPOSITORY=str(repository))) as running:
            yield running

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"response_format": "verbose_json", "timestamp_granularities[]": "word"}, "timestamp_granularities"),
            ({"response_format": "srt", "max_words_per_line": 3}, "max_words_per_line"),
            ({"response_format": "vtt", "highlight_words": "true"}, "highlight_words"),
        ],
    )
    def test_who_asks_for_words_is_told_why_there_are_none(self, plain, fields, param):
        answer = httpx.post(plain.url + PLACES, data={"model": "whisper-1", **fields}, files=upload(), timeout=60)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"], error["code"]) == (400, param, "word_timestamps_unavailable")
        assert "no forced aligner is exported" in error["message"]

    async def test_live_sessions_are_told_and_everything_else_works(self, plain, english):
        assert httpx.get(f"{plain.url}/health").json()["word_timestamps"] is False
        url = f"ws{plain.url.removeprefix('http')}/ws/transcribe?word_timestamps=event"
        async with websockets.connect(url) as socket:
            events = []
            with contextlib.suppress(websockets.ConnectionClosedError):
                async with asyncio.timeout(20):
                    while True:
                        events += [json.loads(await socket.recv())]
            assert socket.close_code == 1008
        refusal = next(event for event in events if event["type"] == "error")
        assert (refusal["code"], refusal["fatal"]) == ("invalid", True)
        events = await asyncio.wait_for(spoken(plain, english), 60)
        assert [event["text"] for event in events if event["type"] == "final"] == [ENGLISH, ENGLISH]
        answer = httpx.post(plain.url + PLACES, data={"model": "whisper-1"}, files=upload(), timeout=60)
        assert answer.json()["text"] == ENGLISH
