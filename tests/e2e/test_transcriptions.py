"""OpenAI's own client, unchanged, against the running service."""

import asyncio
import io
import json
import re

import httpx
import numpy as np
import openai
import pytest
import soundfile
from tokenizers import Tokenizer

from tests.conftest import RECORDINGS, TINY

ENGLISH = "four two seven nine zero one five"


def recording():
    return (RECORDINGS / "english.flac").read_bytes()


def as_file(pcm, rate, kind, channels=1):
    file = io.BytesIO()
    soundfile.write(file, np.tile(pcm[:, None], (1, channels)), rate, format=kind)
    return (f"speech.{kind.lower()}", file.getvalue())


def test_transcribes_with_usage(openai_client):
    answer = openai_client.audio.transcriptions.create(model="tiny", file=("a.flac", recording()))
    assert answer.text == ENGLISH
    assert answer.usage.type == "tokens"
    assert answer.usage.input_tokens + answer.usage.output_tokens == answer.usage.total_tokens
    assert answer.usage.input_token_details.audio_tokens > 0


def test_text_format(openai_client):
    answer = openai_client.audio.transcriptions.create(
        model="whisper-1", file=("a.flac", recording()), response_format="text"
    )
    assert answer == ENGLISH + "\n"


@pytest.mark.parametrize(
    "name", ["gpt-transcribe", "gpt-4o-mini-transcribe-2025-12-15", "gpt-4o-transcribe-diarize", "gpt-live-transcribe"]
)
def test_openais_names_hear_files(openai_client, name):
    assert openai_client.models.retrieve(name).id == name
    answer = openai_client.audio.transcriptions.create(model=name, file=("a.flac", recording()))
    assert answer.text == ENGLISH
    # As codes, by which clients go on.
    assert [language.code for language in answer.languages] == ["en"]


def test_language_and_prompt(openai_client):
    answer = openai_client.audio.transcriptions.create(
        model="gpt-4o-transcribe", file=("a.flac", recording()), language="zh", prompt="Triton", temperature=0
    )
    assert answer.text
    assert not answer.text.isascii()


@pytest.mark.parametrize(
    ("kind", "rate", "channels"),
    [("WAV", 8_000, 1), ("WAV", 48_000, 2), ("FLAC", 44_100, 2), ("MP3", 44_100, 1), ("OGG", 22_050, 2)],
)
def test_formats_rates_and_channels(openai_client, english, kind, rate, channels):
    position = np.arange(0, english.size, 16_000 / rate)
    pcm = np.interp(position, np.arange(english.size), english)
    answer = openai_client.audio.transcriptions.create(model="tiny", file=as_file(pcm, rate, kind, channels))
    heard, expected = answer.text.split(), ENGLISH.split()
    # Eight kilohertz and lossy codecs may cost the tiny model a digit.
    assert len(heard) == len(expected)
    assert sum(a == b for a, b in zip(heard, expected, strict=True)) >= 6


def test_silence_is_an_empty_text(openai_client):
    answer = openai_client.audio.transcriptions.create(model="tiny", file=as_file(np.zeros(32_000), 16_000, "WAV"))
    assert answer.text == ""


async def test_many_at_once(async_openai_client):
    async def one():
        return (await async_openai_client.audio.transcriptions.create(model="tiny", file=("a.flac", recording()))).text

    assert set(await asyncio.gather(*(one() for _ in range(24)))) == {ENGLISH}


def test_models(openai_client):
    assert next(model.id for model in openai_client.models.list()) == "tiny"
    assert openai_client.models.retrieve("whisper-1").id == "whisper-1"
    with pytest.raises(openai.NotFoundError):
        openai_client.models.retrieve("nothing")


@pytest.mark.parametrize(
    ("options", "kind", "param"),
    [
        ({"model": "nothing"}, openai.NotFoundError, "model"),
        ({"file": ("a.wav", b"")}, openai.BadRequestError, "file"),
        ({"file": ("a.wav", b"this is no sound" * 100)}, openai.BadRequestError, "file"),
        ({"language": "Klingon"}, openai.BadRequestError, None),
        ({"temperature": 7}, openai.BadRequestError, "temperature"),
        ({"response_format": "xml"}, openai.BadRequestError, "response_format"),
        ({"response_format": "srt", "stream": True}, openai.BadRequestError, "response_format"),
        ({"timestamp_granularities": ["word"]}, openai.BadRequestError, "timestamp_granularities"),
        ({"timestamp_granularities": ["segment"]}, openai.BadRequestError, "timestamp_granularities"),
        ({"timestamp_granularities": ["letter"]}, openai.BadRequestError, "timestamp_granularities"),
        ({"extra_body": {"max_line_width": 30}}, openai.BadRequestError, "max_line_width"),
        ({"response_format": "srt", "extra_body": {"max_line_width": 0}}, openai.BadRequestError, "max_line_width"),
        ({"response_format": "srt", "extra_body": {"karaoke": True}}, openai.BadRequestError, "karaoke"),
        ({"response_format": "vtt", "extra_body": {"max_line_count": 2}}, openai.BadRequestError, "max_line_count"),
        ({"include": ["colours"]}, openai.BadRequestError, "include"),
        ({"include": ["logprobs"], "response_format": "text"}, openai.BadRequestError, "include"),
        ({"language": "en", "extra_body": {"languages": ["en", "zh"]}}, openai.BadRequestError, "languages"),
        ({"chunking_strategy": "sometimes"}, openai.BadRequestError, "chunking_strategy"),
        ({"chunking_strategy": {"type": "server_vad", "threshold": 3}}, openai.BadRequestError, "chunking_strategy"),
        ({"chunking_strategy": {"type": "client_vad"}}, openai.BadRequestError, "chunking_strategy"),
        ({"prompt": "word " * 9_000}, openai.BadRequestError, "prompt"),
        # Within the characters, and beyond the tokens that the decoder takes.
        ({"prompt": "42 " * 6_000}, openai.BadRequestError, None),
    ],
)
def test_mistakes_have_openais_error_body(openai_client, options, kind, param):
    with pytest.raises(kind) as caught:
        openai_client.audio.transcriptions.create(**{"model": "tiny", "file": ("a.flac", recording()), **options})
    assert caught.value.type == "invalid_request_error"
    assert caught.value.param == param
    assert caught.value.body["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/v1/audio/transcriptions", 400), ("GET", "/v1/nothing", 404), ("GET", "/v1/audio/transcriptions", 405)],
)
def test_every_refusal_has_the_same_body(service, method, path, status):
    answer = httpx.request(method, f"{service.url}{path}", timeout=30)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_health(service):
    health = httpx.get(f"{service.url}/health", timeout=30)
    assert health.status_code == 200
    body = health.json()
    assert body["status"] == "ready"
    assert body["model"] == "tiny"
    assert body["triton"]["version"] == "2.51.0"
    ready = {name for name, state in body["models"].items() if state == "READY"}
    rooms = {"asr", "asr_step", "asr_stream", "vad", "features", "encoder", "decoder"}
    assert ready == rooms | {"align", "aligner", "encoder_aligner", "speakers"}
    assert body["word_timestamps"] is body["speakers"] is True
    # The small checkpoint's rooms are there, and loaded where they are wanted.
    assert set(body["models"]) == ready | {"asr_fast", "asr_step_fast", "encoder_fast", "decoder_fast"}
    assert httpx.get(f"{service.url}/health/ready", timeout=30).status_code == 200
    assert httpx.get(f"{service.url}/health/live", timeout=30).json() == {"status": "alive"}


def test_streams_as_the_openai_client_reads_it(openai_client):
    events = list(
        openai_client.audio.transcriptions.create(
            model="gpt-4o-transcribe", file=("a.flac", recording()), stream=True, include=["logprobs"]
        )
    )
    kinds = [event.type for event in events]
    assert kinds == ["transcript.text.delta"] * (len(events) - 1) + ["transcript.text.done"]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == ENGLISH
    assert events[-1].usage.total_tokens > 0
    tokens = [one for event in events[:-1] for one in event.logprobs]
    assert (
        bytes(byte for one in tokens for byte in one.bytes).decode() == ENGLISH == "".join(one.token for one in tokens)
    )
    assert [one.model_dump() for one in events[-1].logprobs] == [one.model_dump() for one in tokens]
    assert all(one.logprob <= 0 for one in tokens)


async def test_streams_asynchronously(async_openai_client):
    stream = await async_openai_client.audio.transcriptions.create(
        model="tiny", file=("a.flac", recording()), stream=True
    )
    texts = [event.delta async for event in stream if event.type == "transcript.text.delta"]
    assert "".join(texts) == ENGLISH


def test_the_stream_route_is_the_same(service):
    answer = httpx.post(
        f"{service.url}/v1/audio/transcriptions/stream", files={"file": ("a.flac", recording())}, timeout=60
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    last = json.loads(answer.text.strip().split("\n\n")[-1].removeprefix("data: "))
    assert last["text"] == ENGLISH


def test_a_streams_first_error_is_a_status(openai_client):
    with pytest.raises(openai.BadRequestError):
        openai_client.audio.transcriptions.create(model="tiny", file=("a.wav", b"nothing" * 50), stream=True)


@pytest.fixture(scope="module")
def long_recording(english, chinese):
    """A minute and a half of both recordings with pauses between: a WAV file, and what is said."""
    pause = np.zeros(12_000, dtype=np.float32)
    pcm = np.concatenate([part for _ in range(8) for part in (english, pause, chinese, pause)])
    return as_file(pcm, 16_000, "WAV"), pcm.size / 16_000


def test_verbose_json_has_segments(openai_client, long_recording):
    file, seconds = long_recording
    answer = openai_client.audio.transcriptions.create(
        model="whisper-1", file=file, response_format="verbose_json", timestamp_granularities=["segment"]
    )
    assert answer.duration == pytest.approx(seconds, abs=0.1)
    assert answer.language in ("english", "chinese")
    assert len(answer.segments) >= 8
    ends = [0.0] + [segment.end for segment in answer.segments]
    assert all(segment.start >= end - 0.7 for segment, end in zip(answer.segments, ends, strict=False))
    assert all(0 <= segment.start < segment.end <= seconds for segment in answer.segments)
    assert answer.text.count(ENGLISH) >= 5
    words = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    assert all(words.decode(segment.tokens).strip() == segment.text for segment in answer.segments)
    assert all(segment.avg_logprob < 0 for segment in answer.segments)


def test_subtitles(openai_client, long_recording):
    srt, vtt = (
        openai_client.audio.transcriptions.create(model="whisper-1", file=long_recording[0], response_format=kind)
        for kind in ("srt", "vtt")
    )
    assert srt.startswith("1\n00:00:00,")
    assert vtt.startswith("WEBVTT\n\n00:00:00.")
    times = re.findall(r"(\d\d):(\d\d):(\d\d),(\d{3}) --> ", srt)
    assert len(times) == vtt.count("-->") >= 8
    starts = [int(h) * 3600 + int(m) * 60 + int(s) + int(ms) / 1000 for h, m, s, ms in times]
    assert starts == sorted(starts)


def test_a_long_file_streams_the_text_that_json_has(openai_client, long_recording):
    whole = openai_client.audio.transcriptions.create(model="tiny", file=long_recording[0])
    events = list(openai_client.audio.transcriptions.create(model="tiny", file=long_recording[0], stream=True))
    assert events[-1].text == whole.text
    assert "".join(event.delta for event in events[:-1]) == whole.text
    # The tiny model was made for shorter clips of one language; most of it is there.
    assert whole.text.count("four two seven nine zero") >= 4
    assert whole.usage.input_token_details.audio_tokens > 500


def test_server_vad_cuts_as_it_is_told(openai_client, long_recording):
    options = {"model": "tiny", "file": long_recording[0], "response_format": "verbose_json"}
    short = openai_client.audio.transcriptions.create(
        chunking_strategy={"type": "server_vad", "silence_duration_ms": 300, "threshold": 0.4}, **options
    )
    long = openai_client.audio.transcriptions.create(
        chunking_strategy={"type": "server_vad", "silence_duration_ms": 5_000}, **options
    )
    assert len(short.segments) > len(long.segments)


def test_keywords_and_languages_reach_the_model(openai_client):
    answer = openai_client.audio.transcriptions.create(
        model="tiny", file=("a.flac", recording()), extra_body={"languages": ["zh"], "keywords": ["Triton", "ASR"]}
    )
    assert not answer.text.isascii()


def test_debug_tells_where_the_time_went(service):
    answer = httpx.post(
        f"{service.url}/v1/audio/transcriptions",
        files={"file": ("a.flac", recording())},
        data={"model": "tiny", "debug": "true"},
        headers={"x-request-id": "mine"},
        timeout=60,
    ).json()
    assert answer["meta"]["request_id"] == "mine"
    assert answer["meta"]["timings_ms"]["frontend_total"] >= answer["meta"]["timings_ms"]["total"] > 0


def test_translation_is_refused(openai_client):
    with pytest.raises(openai.BadRequestError, match="translation is not served"):
        openai_client.audio.translations.create(model="whisper-1", file=("a.flac", recording()))


def test_the_sound_of_a_film(openai_client, english, tmp_path):
    import av

    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as film:
        picture = film.add_stream("mpeg4", rate=5)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        sound = film.add_stream("aac", rate=16_000)
        for _ in range(20):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), dtype=np.uint8), format="rgb24")
            film.mux(picture.encode(frame))
        frame = av.AudioFrame.from_ndarray(english[None, :], format="fltp", layout="mono")
        frame.sample_rate = 16_000
        film.mux(sound.encode(frame))
        film.mux([*picture.encode(), *sound.encode()])
    answer = openai_client.audio.transcriptions.create(model="tiny", file=path)
    assert len(answer.text.split()) == len(ENGLISH.split())
