"""OpenAI's own client, unchanged, against the running service."""

import asyncio
import io

import httpx
import numpy as np
import openai
import pytest
import soundfile

from tests.conftest import RECORDINGS

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
        ({"response_format": "srt"}, openai.BadRequestError, "response_format"),
        ({"extra_body": {"stream": "true"}}, openai.BadRequestError, "stream"),
        ({"prompt": "word " * 9_000}, openai.BadRequestError, None),
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
    assert ready == {"asr", "vad", "features", "encoder", "decoder"}
    # The small checkpoint's rooms are there, and loaded where they are wanted.
    assert set(body["models"]) == ready | {"asr_fast", "encoder_fast", "decoder_fast"}
    assert httpx.get(f"{service.url}/health/ready", timeout=30).status_code == 200
    assert httpx.get(f"{service.url}/health/live", timeout=30).json() == {"status": "alive"}
