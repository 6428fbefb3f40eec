"""What is recognized as it is to be written: files in every form, streams, live; and whatever a chat endpoint does."""

import asyncio
import json
import re

import httpx
import numpy as np
import pytest
import soundfile
import websockets

from perf.service import running_service
from tests.chat_server import chat_server
from tests.e2e.test_live import feed, s16
from tests.e2e.test_realtime import COMPLETED, DELTA, PCM_16, Client
from tests.e2e.test_words import ENGLISH, check_words, upload
from tests.endings import ended_later

PLACES = "/v1/audio/transcriptions"
WRITTEN = "4279015"
CORRECTED = "conversation.item.input_audio_transcription.corrected"


@pytest.fixture(scope="module")
def chat():
    with chat_server() as running:
        yield running


@pytest.fixture(scope="module")
def worded(chat, tmp_path_factory):
    """A service with a chat endpoint, and lists and roles of its own."""
    folder = tmp_path_factory.mktemp("worded")
    for name in ("lists", "roles"):
        (folder / name).mkdir()
    (folder / "lists" / "zeros.txt").write_text("action: drop\n\nzero\n")
    (folder / "lists" / "fives.en.txt").write_text("action: mask\n\nfive\n")
    (folder / "roles" / "minutes.txt").write_text("kind: tells\nabout: minutes\n\nWrite the minutes.\n")
    (folder / "key").write_text("zyx-the-key\n")
    with ended_later(
        running_service(
            ASR_CACHE_DIR=str(tmp_path_factory.mktemp("cache")),
            ASR_FILTERS_DIR=str(folder / "lists"),
            ASR_CORRECTION_URL=chat.at("changing"),
            ASR_CORRECTION_MODEL="some-model",
            ASR_CORRECTION_KEY_FILE=str(folder / "key"),
            ASR_CORRECTION_ROLES_DIR=str(folder / "roles"),
            ASR_CORRECTION_TIMEOUT_S="2",
        )
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def manner(chat):
    chat.manner = "good"


def asked(service, files=None, path=PLACES, **fields):
    data = {"model": "whisper-1", "text_format": "written", **fields}
    return httpx.post(service.url + path, data=data, files=files or upload(), timeout=60)


def events_of(service, files=None, **fields):
    answer = asked(service, files, stream="true", **fields)
    assert answer.status_code == 200, answer.text
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


def long_recording(pcm, times=4):
    import io

    file = io.BytesIO()
    quiet = np.zeros(16_000, dtype=np.float32)
    soundfile.write(file, np.concatenate([pcm, quiet] * times), 16_000, format="WAV")
    return {"file": ("long.wav", file.getvalue())}


class TestFiles:
    def test_text_is_written(self, worded):
        assert asked(worded).json()["text"] == WRITTEN
        assert asked(worded, text_format="recognized").json()["text"] == ENGLISH
        assert asked(worded, response_format="text").text == WRITTEN + "\n"
        assert asked(worded, upload("chinese")).json()["text"] == "38026"

    def test_words_begin_with_the_first_and_end_with_the_last_that_they_were(self, worded):
        fields = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
        said = asked(worded, text_format="recognized", **fields).json()
        body = asked(worded, **fields).json()
        check_words(body["words"], WRITTEN, body["duration"])
        (word,) = body["words"]
        assert (word["start"], word["end"]) == (said["words"][0]["start"], said["words"][-1]["end"])
        assert word["confidence"] == min(one["confidence"] for one in said["words"])
        assert [segment["text"] for segment in body["segments"]] == [WRITTEN]
        # Tokens are of what was recognized.
        assert body["segments"][0]["tokens"] == said["segments"][0]["tokens"]

    @pytest.mark.parametrize(
        ("form", "layout"), [("srt", {}), ("vtt", {"max_words_per_line": 3}), ("vtt", {"karaoke": "true"})]
    )
    def test_subtitles_are_written(self, worded, form, layout):
        answer = asked(worded, response_format=form, **layout)
        assert answer.status_code == 200
        assert re.search(rf"\d --> [\d:.,]+\n{WRITTEN}\n", answer.text), answer.text

    def test_who_speaks_says_it_as_it_is_written(self, worded):
        body = asked(worded, response_format="diarized_json").json()
        assert [segment["text"] for segment in body["segments"]] == [WRITTEN]
        assert body["segments"][0]["speaker"] == "A"
        assert body["text"] == WRITTEN

    def test_a_stream_tells_segment_by_segment_what_its_end_says(self, worded, english):
        fields = {"timestamp_granularities[]": ["word", "segment"]}
        events = events_of(worded, long_recording(english), **fields)
        text = events[-1]["text"]
        assert text == " ".join([WRITTEN] * 4)
        assert "".join(one["delta"] for one in events if one["type"].endswith("delta")) == text
        assert " ".join(one["text"] for one in events if one["type"].endswith("segment")) == text
        words = [word for one in events if one["type"].endswith("words") for word in one["words"]]
        assert " ".join(word["word"] for word in words) == text

    def test_a_stream_with_speakers_tells_what_its_end_says(self, worded, english):
        events = events_of(worded, long_recording(english), diarize="true", correct="true")
        text = events[-1]["text"]
        assert "".join(one["delta"] for one in events if one["type"].endswith("delta")) == text
        assert text.count("4279015.") == 4

    def test_words_are_left_out_and_masked(self, worded):
        filters = {"text_format": "recognized", "filters[]": ["zeros", "fives"]}
        assert asked(worded, **filters).json()["text"] == "four two seven nine one f***"
        answer = asked(worded, **{**filters, "filters[]": "zeros,fives"}, mask="all")
        assert answer.json()["text"] == "four two seven nine one ****"
        body = asked(worded, response_format="verbose_json", **filters, **{"timestamp_granularities[]": "word"}).json()
        assert [word["word"] for word in body["words"]] == ["four", "two", "seven", "nine", "one", "f***"]

    def test_what_sounds_like_a_keyword_becomes_it(self, worded):
        fields = {"keywords[]": "Fohr Tuh", "phonetic": "true", "text_format": "recognized", "debug": "true"}
        body = asked(worded, **fields).json()
        assert body["text"].startswith("Fohr Tuh seven nine")
        (one,) = body["meta"]["wording"]["replacements"]
        assert (one["heard"], one["hotword"]) == ("four two", "Fohr Tuh")
        assert body["meta"]["wording"]["edits"] == {"phonetic": 1}

    @pytest.mark.parametrize(
        ("path", "name", "fields"),
        [
            ("/api/v1/transcribe", "file", {}),
            ("/api/v1/asr", "audio_file", {"output": "json"}),
            ("/api/v1/trans/video", "file", {}),
            ("/v1/audio/transcriptions/stream", "file", {}),
        ],
    )
    def test_other_routes_know_it(self, worded, path, name, fields):
        answer = asked(worded, {name: upload()["file"]}, path, **fields)
        assert answer.status_code == 200
        assert WRITTEN in answer.text

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"text_format": "spoken"}, "text_format"),
            ({"phonetic": "perhaps"}, "phonetic"),
            ({"phonetic": "true"}, "phonetic"),
            ({"filters[]": "poetry"}, "filters"),
            ({"mask": "some"}, "mask"),
            ({"correct": "poetry"}, "correct"),
            ({"correct": "minutes", "response_format": "srt"}, "correct"),
            ({"include[]": "logprobs"}, "text_format"),
            ({"include[]": "logprobs", "text_format": "recognized", "correct": "true"}, "correct"),
        ],
    )
    def test_a_mistake_names_its_field(self, worded, fields, param):
        answer = asked(worded, **fields)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


class TestCorrection:
    def test_a_text_is_what_the_model_made_of_it(self, worded, chat):
        before = len(chat.asked)
        body = asked(worded, text_format="recognized", correct="true").json()
        assert body["text"] == "Four two seven nine zero one five."
        assert "correction_error" not in body
        assert chat.asked[before]["model"] == "some-model"
        assert chat.keys[before] == "Bearer zyx-the-key"

    def test_words_go_with_it(self, worded):
        fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word", "correct": "terms"}
        body = asked(worded, text_format="recognized", **fields).json()
        check_words(body["words"], "Four two seven nine zero one five.", body["duration"])

    @pytest.mark.parametrize("manner", ["lying", "slow", "garbage", "broken", "elsewhere"])
    def test_whatever_the_endpoint_does_the_text_is_there(self, worded, chat, manner):
        chat.manner = manner
        body = asked(worded, correct="true").json()
        assert body["text"] == WRITTEN
        assert body["correction_error"]
        chat.manner = "good"

    def test_a_role_that_tells_stands_beside_the_text(self, worded, chat):
        chat.manner = "summing"
        body = asked_until_answered(worded, correct="minutes")
        assert body["text"] == WRITTEN
        assert body["about"] == {"role": "minutes", "text": "Somebody says 7 characters."}
        events = events_of(worded, correct="summarize")
        assert events[-1]["about"]["role"] == "summarize"

    def test_health_and_metrics_tell_of_it(self, worded, chat):
        asked_until_answered(worded, correct="true")
        wording = httpx.get(f"{worded.url}/health").json()["wording"]
        assert set(wording["correct"]) == {"punctuation", "terms", "summarize", "minutes"}
        assert wording["written"] == ["English", "Chinese", "Cantonese", "Japanese"]
        assert wording["filters"] == ["fillers", "fives", "profanity", "zeros"]
        metrics = httpx.get(f"{worded.url}/metrics").text
        assert re.search(r'asr_frontend_corrections_total\{outcome="(same|changed)"\} [1-9]', metrics)
        assert re.search(r'asr_frontend_wording_edits_total\{step="written"\} [1-9]', metrics)
        assert re.search(r"asr_frontend_wording_seconds_count [1-9]", metrics)

    def test_who_asks_where_there_is_no_endpoint_is_told_so(self, service):
        answer = asked(service, correct="true")
        error = answer.json()["error"]
        assert (answer.status_code, error["param"], error["code"]) == (400, "correct", "correction_unavailable")
        assert httpx.get(f"{service.url}/health").json()["wording"]["correct"] is None


def asked_until_answered(service, **fields):
    """An endpoint that did not answer lately is left alone for a while."""
    import time

    until = time.monotonic() + 60
    while True:
        body = asked(service, **fields).json()
        if "correction_error" not in body or time.monotonic() > until:
            return body
        time.sleep(0.5)


async def spoken(service, pcm, query="", **settings):
    """Events of a session by WebSocket that hears a recording."""
    async with websockets.connect(f"ws{service.url.removeprefix('http')}/ws/transcribe{query}") as socket:
        listening = asyncio.create_task(_all(socket))
        if settings:
            await socket.send(json.dumps({"action": "config", **settings}))
        await feed(socket, s16(np.concatenate([pcm, np.zeros(16_000, dtype=np.float32)])), 6_400)
        await socket.send(json.dumps({"action": "end"}))
        return await asyncio.wait_for(listening, 60)


async def _all(socket):
    return [json.loads(message) async for message in socket]


def of(events, kind):
    return [event for event in events if event["type"] == kind]


class TestLive:
    async def test_a_final_is_written_and_partials_are_not(self, service, english):
        events = await spoken(service, english, "?text_format=written&partial_interval_ms=200", word_timestamps="event")
        (final,) = of(events, "final")
        assert (final["text"], final["recognized"], final["revised"]) == (WRITTEN, ENGLISH, True)
        assert all(ENGLISH.startswith(event["stable"]) for event in of(events, "partial"))
        (told,) = of(events, "words")
        check_words(told["words"], WRITTEN, final["end"] + 0.01)

    async def test_words_inside_of_a_final_are_the_written_ones(self, service, english):
        (final,) = of(await spoken(service, english, text_format="written", word_timestamps="final"), "final")
        check_words(final["words"], WRITTEN, final["end"] + 0.01)

    async def test_a_final_goes_out_at_once_and_is_corrected_later(self, worded, chat, english):
        asked_until_answered(worded, correct="true")
        events = await spoken(worded, english, correct="true", filters=["fives"])
        (final,) = of(events, "final")
        assert final["text"] == "four two seven nine zero one f***"
        assert final["correction_follows"] is True
        (corrected,) = of(events, "corrected")
        assert (corrected["utterance"], corrected["text"]) == (1, "Four two seven nine zero one f***.")
        kinds = [event["type"] for event in events]
        assert kinds.index("final") < kinds.index("corrected") < kinds.index("closed")

    async def test_a_slow_endpoint_holds_no_final_up_and_ends_in_time(self, worded, chat, english):
        asked_until_answered(worded, correct="true")
        chat.manner = "slow"
        events = await spoken(worded, english, correct="true")
        chat.manner = "good"
        (corrected,) = of(events, "corrected")
        assert corrected["text"] == ENGLISH
        assert corrected["correction_error"]
        assert events[-1]["type"] == "closed"

    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            ({"text_format": "spoken"}, "text_format must be one of"),
            ({"filters": "poetry"}, "there is no filter 'poetry'"),
            ({"correct": "true"}, "no chat endpoint is set"),
            ({"phonetic": [1]}, "phonetic must be"),
        ],
    )
    async def test_a_mistake_is_told_and_the_session_goes_on(self, service, english, settings, problem):
        events = await spoken(service, english, **settings)
        (error,) = of(events, "error")
        assert problem in error["message"]
        assert not error["fatal"]
        assert [event["text"] for event in of(events, "final")] == [ENGLISH]

    async def test_a_mistake_in_the_address_ends_it(self, service):
        async with websockets.connect(f"ws{service.url.removeprefix('http')}/ws/transcribe?mask=some") as socket:
            event = json.loads(await asyncio.wait_for(socket.recv(), 10))
            await asyncio.wait_for(socket.wait_closed(), 10)
        assert "mask must be one of" in event["message"]
        assert socket.close_code == 1008


class TestRealtime:
    async def test_a_transcript_is_written_and_deltas_are_not(self, service, english):
        async with Client(service) as client:
            transcription = {"model": "whisper-1", "text_format": "written"}
            await client.update(format=PCM_16, turn_detection=None, transcription=transcription)
            for _ in range(2):
                await client.append(s16(english))
                await client.commit()
            events = await client.until(COMPLETED, count=2)
        updated = next(event for event in events if event["type"] == "session.updated")
        assert updated["session"]["audio"]["input"]["transcription"]["text_format"] == "written"
        completed = [event for event in events if event["type"] == COMPLETED]
        assert [(event["transcript"], event["recognized"]) for event in completed] == [(WRITTEN, ENGLISH)] * 2
        for one in completed:
            deltas = [e["delta"] for e in events if e["type"] == DELTA and e["item_id"] == one["item_id"]]
            assert "".join(deltas) == ENGLISH

    async def test_a_correction_follows(self, worded, chat, english):
        asked_until_answered(worded, correct="true")
        async with Client(worded) as client:
            await client.update(format=PCM_16, turn_detection=None, transcription={"correct": "punctuation"})
            await client.append(s16(english))
            await client.commit()
            events = await client.until(CORRECTED)
        done = next(event for event in events if event["type"] == COMPLETED)
        assert done["transcript"] == ENGLISH
        assert (events[-1]["item_id"], events[-1]["text"]) == (done["item_id"], ENGLISH.capitalize() + ".")

    async def test_a_mistake_names_its_field(self, service):
        async with Client(service) as client:
            await client.update(transcription={"filters": ["poetry"]})
            (error,) = [event["error"] for event in await client.until("error") if event["type"] == "error"]
            assert error["param"] == "session.audio.input.transcription.filters"
            await client.update(transcription={"correct": "true"})
            error = (await client.until("error"))[-1]["error"]
        assert (error["param"].rpartition(".")[2], error["code"]) == ("correct", "correction_unavailable")


async def test_no_log_tells_the_text_or_the_key(worded):
    log = worded.log_path.read_text()
    assert "zyx" not in log
    assert "four two seven" not in log
    assert WRITTEN not in log
    # The client of the endpoint would tell every question, and where to.
    assert "chat/completions" not in log
