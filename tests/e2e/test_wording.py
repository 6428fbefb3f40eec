"""What is recognized as it is to be written: files in every form, and as streams; whatever a chat endpoint does."""

import json
import re

import httpx
import numpy as np
import pytest
import soundfile

from tests.e2e.test_words import ENGLISH, check_words, upload

PLACES = "/v1/audio/transcriptions"
WRITTEN = "4279015"


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


async def test_no_log_tells_the_text_or_the_key(worded):
    log = worded.log_path.read_text()
    assert "zyx" not in log
    assert "four two seven" not in log
    assert WRITTEN not in log
    # The client of the endpoint would tell every question, and where to.
    assert "chat/completions" not in log
