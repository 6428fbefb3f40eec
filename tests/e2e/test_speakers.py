"""Who speaks as users are told: by the openai client, as a stream, in subtitles, live; and what happens without."""

import asyncio
import base64
import io
import json
import shutil

import httpx
import numpy as np
import pytest
import soundfile
import websockets

from perf.service import running_service
from perf.speech.meetings import meeting, reference
from tests.conftest import HUMAN_SPEECH, RECORDINGS
from tests.endings import ended_later
from tests.integration.repositories import linked_repository

PLACE = "/v1/audio/transcriptions"
MODEL = "gpt-4o-transcribe-diarize"


def wav(pcm):
    file = io.BytesIO()
    soundfile.write(file, pcm, 16_000, format="WAV", subtype="PCM_16")
    return file.getvalue()


@pytest.fixture(scope="module")
def talk():
    """Two people whom the encoder tells apart well, eight turns."""
    if not HUMAN_SPEECH.is_dir():
        pytest.skip(f"human speech is not at {HUMAN_SPEECH}")
    return meeting(2, 8, 6)


def said_by(rows, talk):
    """Who speaks most of each long turn."""
    found = []
    for turn in talk.turns:
        shared = {}
        for start, end, speaker in rows:
            overlap = min(turn.end / 16_000, end) - max(turn.start / 16_000, start)
            shared[speaker] = shared.get(speaker, 0) + max(0, overlap)
        if turn.end - turn.start > 32_000:
            found.append((turn.speaker, max(shared, key=shared.get)))
    return found


def check_apart(rows, talk):
    pairs = said_by(rows, talk)
    assert len(pairs) >= 4
    # One label for each of them, and none for both.
    assert len(set(pairs)) == len({true for true, _ in pairs}) == len({told for _, told in pairs})


def test_the_openai_client_reads_the_whole_answer(openai_client, talk):
    answer = openai_client.audio.transcriptions.create(
        model=MODEL, file=("talk.wav", wav(talk.pcm)), response_format="diarized_json", chunking_strategy="auto"
    )
    assert type(answer).__name__ == "TranscriptionDiarized"
    assert answer.task == "transcribe"
    assert answer.duration == pytest.approx(talk.pcm.size / 16_000, abs=0.01)
    assert answer.usage.type == "duration"
    assert {one.type for one in answer.segments} == {"transcript.text.segment"}
    assert answer.segments[0].speaker == "A"
    assert " ".join(one.text for one in answer.segments) == answer.text
    check_apart([(one.start, one.end, one.speaker) for one in answer.segments], talk)


def test_the_openai_client_reads_the_stream(openai_client, talk):
    stream = openai_client.audio.transcriptions.create(
        model=MODEL,
        file=("talk.wav", wav(talk.pcm)),
        response_format="diarized_json",
        chunking_strategy="auto",
        stream=True,
    )
    events = list(stream)
    segments = [event for event in events if event.type == "transcript.text.segment"]
    assert {type(one).__name__ for one in segments} == {"TranscriptionTextSegmentEvent"}
    done = events[-1]
    assert done.type == "transcript.text.done"
    assert " ".join(one.text for one in segments) == done.text
    # Who spoke is known best at the end.
    assert [one["id"] for one in done.speakers] == [one.id for one in segments]
    last = {one["id"]: one["speaker"] for one in done.speakers}
    check_apart([(one.start, one.end, last[one.id]) for one in segments], talk)


def test_known_speakers_are_called_by_their_names(openai_client, talk):
    references = [
        "data:audio/wav;base64," + base64.b64encode(wav(reference(one, 5.0, 7))).decode() for one in talk.speakers
    ]
    answer = openai_client.audio.transcriptions.create(
        model=MODEL,
        file=("talk.wav", wav(talk.pcm)),
        response_format="diarized_json",
        extra_body={"known_speaker_names": talk.speakers, "known_speaker_references": references},
    )
    pairs = said_by([(one.start, one.end, one.speaker) for one in answer.segments], talk)
    assert all(true == told for true, told in pairs)


async def test_other_forms_say_it_on_request(service, talk):
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:

        async def asked(**data):
            files = {"file": ("talk.wav", wav(talk.pcm), "audio/wav")}
            answer = await http.post(PLACE, data={"model": "whisper-1", **data}, files=files)
            assert answer.status_code == 200, answer.text
            return answer

        verbose = (await asked(response_format="verbose_json", diarize="true")).json()
        rows = [(one["start"], one["end"], one["speaker"]) for one in verbose["segments"]]
        check_apart(rows, talk)
        assert "words" not in verbose
        plain = (await asked(response_format="verbose_json")).json()
        assert all("speaker" not in one for one in plain["segments"])
        srt = (await asked(response_format="srt", diarize="true")).text
        assert "\nA: " in srt
        assert "\nB: " in srt
        vtt = (await asked(response_format="vtt", diarize="true")).text
        assert "\n<v A>" in vtt
        assert "\n<v B>" in vtt
        one = (await asked(response_format="vtt", max_speakers="1")).text
        assert "\n<v A>" in one
        assert "<v B>" not in one


@pytest.mark.parametrize(
    ("data", "param", "message"),
    [
        ({"response_format": "json", "diarize": "true"}, "diarize", "speakers go with the response_format"),
        ({"known_speaker_names[]": "Ann"}, "known_speaker_names", "each name has a reference"),
        ({"min_speakers": "0"}, "min_speakers", "greater than or equal to 1"),
        ({"min_speakers": "3", "max_speakers": "2"}, "min_speakers", "more than max_speakers"),
        (
            {"known_speaker_names[]": "Ann", "known_speaker_references[]": "data:audio/wav;base64,UklGRg=="},
            "known_speaker_references",
            "the reference of 'Ann'",
        ),
    ],
)
async def test_mistakes_are_told_by_their_field(service, data, param, message):
    sound = {"file": ("a.flac", (RECORDINGS / "english.flac").read_bytes())}
    fields = {"model": MODEL, "response_format": "diarized_json", **data}
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:
        answer = await http.post(PLACE, data=fields, files=sound)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param
    assert message in error["message"]


async def test_a_reference_has_two_to_ten_seconds(service, english):
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:
        for pcm, has in ((english[:16_000], "1.0 s"), (np.tile(english, 3), "has 12.")):
            url = "data:audio/wav;base64," + base64.b64encode(wav(pcm)).decode()
            fields = {"model": MODEL, "response_format": "diarized_json"}
            fields |= {"known_speaker_names[]": "Ann", "known_speaker_references[]": url}
            answer = await http.post(PLACE, data=fields, files={"file": ("a.wav", wav(english))})
            assert answer.status_code == 400
            assert has in answer.json()["error"]["message"]


async def test_a_reference_in_which_nobody_speaks_is_refused(service, english):
    url = "data:audio/wav;base64," + base64.b64encode(wav(np.zeros(48_000, dtype=np.float32))).decode()
    fields = {"model": MODEL, "response_format": "diarized_json"}
    fields |= {"known_speaker_names[]": "Ann", "known_speaker_references[]": url}
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:
        answer = await http.post(PLACE, data=fields, files={"file": ("a.wav", wav(english))})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "the reference of 'Ann' has no speech"


async def test_noise_among_speech_keeps_nobody_waiting(service, talk):
    """Segments without text are done before those in front of them."""
    rng = np.random.default_rng(0)
    bursts = [(0.2 * rng.standard_normal(8_000)).astype(np.float32), np.zeros(16_000, dtype=np.float32)] * 12
    pcm = np.concatenate([talk.pcm, *bursts, talk.pcm, *bursts])
    fields = {"model": MODEL, "response_format": "diarized_json"}
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:
        answer = await http.post(PLACE, data=fields, files={"file": ("a.wav", wav(pcm))})
    assert answer.status_code == 200
    assert all(one["speaker"] for one in answer.json()["segments"])


async def sent(socket, pcm):
    data = np.round(np.clip(pcm, -1, 1) * 32_767).astype("<i2").tobytes()
    for start in range(0, len(data), 12_800):
        await socket.send(data[start : start + 12_800])


async def test_live_finals_are_told_apart_by_websocket(service, talk):
    address = f"{service.url.replace('http', 'ws')}/ws/transcribe?speakers=event&partial_interval_ms=2000"
    async with websockets.connect(address) as socket:
        await sent(socket, talk.pcm)
        await socket.send(json.dumps({"action": "end"}))
        events = [json.loads(message) async for message in socket]
    finals = [event for event in events if event["type"] == "final" and event["text"]]
    told = [event for event in events if event["type"] == "speaker"]
    assert {event["utterance"] for event in told} == {event["utterance"] for event in finals}
    assert all("speaker_error" not in event for event in told)
    # The last that was said of each.
    last = {event["utterance"]: event for event in told}
    rows = []
    for final in finals:
        turns = last[final["utterance"]].get("turns") or [{**final, **last[final["utterance"]]}]
        rows += [(turn["start"], turn["end"], turn["speaker"]) for turn in turns]
    assert len({speaker for _, _, speaker in rows}) == 2
    right = said_by(rows, talk)
    best = max(
        sum(names.get(true) == label for true, label in right)
        for names in (dict(zip(talk.speakers, order, strict=True)) for order in (("A", "B"), ("B", "A")))
    )
    assert best >= 0.75 * len(right)


async def test_realtime_tells_speakers_of_items(service, talk):
    address = f"{service.url.replace('http', 'ws')}/v1/realtime?intent=transcription"
    rate = np.interp(np.arange(0, talk.pcm.size, 2 / 3), np.arange(talk.pcm.size), talk.pcm)
    data = np.round(np.clip(rate, -1, 1) * 32_767).astype("<i2").tobytes()
    done, speakers = {}, {}
    async with websockets.connect(address) as socket:
        transcription = {"model": MODEL, "speakers": "event"}
        session = {"type": "transcription", "audio": {"input": {"transcription": transcription}}}
        await socket.send(json.dumps({"type": "session.update", "session": session}))
        for start in range(0, len(data), 48_000):
            audio = base64.b64encode(data[start : start + 48_000]).decode()
            await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        async with asyncio.timeout(60):
            while len(done) < 3 or not set(done) <= set(speakers):
                event = json.loads(await socket.recv())
                assert event["type"] != "error", event
                if event["type"].endswith("transcription.completed") and event["transcript"]:
                    done[event["item_id"]] = event["transcript"]
                elif event["type"].endswith("transcription.speaker"):
                    speakers[event["item_id"]] = event["speaker"]
    assert set(speakers.values()) <= {"A", "B"}


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """A server where no speaker encoder is exported."""
    repository = linked_repository(tmp_path_factory.mktemp("without"), {})
    shutil.rmtree(repository / "speakers")
    cache = str(tmp_path_factory.mktemp("cache"))
    with ended_later(running_service(ASR_CACHE_DIR=cache, ASR_MODEL_REPOSITORY=str(repository))) as running:
        yield running


async def test_where_no_encoder_is_exported_they_are_refused_and_nothing_else(without):
    sound = {"file": ("a.flac", (RECORDINGS / "english.flac").read_bytes())}
    async with httpx.AsyncClient(base_url=without.url, timeout=60) as http:
        assert (await http.get("/health")).json()["speakers"] is False
        refused = await http.post(PLACE, data={"model": MODEL, "response_format": "diarized_json"}, files=sound)
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "speakers_unavailable"
        served = await http.post(PLACE, data={"model": MODEL}, files=sound)
        assert served.json()["text"] == "four two seven nine zero one five"
    address = f"{without.url.replace('http', 'ws')}/ws/transcribe?speakers=event"
    async with websockets.connect(address) as socket:
        while (told := json.loads(await socket.recv()))["type"] != "error":
            assert told["type"] == "opened"
    assert "no speaker encoder is exported" in told["message"]
