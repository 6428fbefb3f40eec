"""A Realtime session without a server: its settings, its turns, and how it is fed."""

import asyncio
import base64
import json
import threading

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from frontend.api import realtime_feed
from frontend.api.languages import LANGUAGES, as_codes, is_language
from frontend.api.models import REALTIME_ONLY, is_served, knows_turn_detection
from frontend.api.realtime_events import (
    MAX_APPEND_BYTES,
    MOST_EVENT,
    SMALL,
    SMALL_APPEND,
    RealtimeMistake,
    aside,
    audio_of,
    is_sound,
    name_of,
    parsed,
)
from frontend.api.realtime_feed import AHEAD_S, Feed
from frontend.api.realtime_session import RealtimeSession
from frontend.api.realtime_turns import TRANSCRIPTION, Turns
from frontend.audio.live_audio import LiveAudio
from frontend.settings import Settings
from tests.conftest import ROOT

NAMES = ["tiny", *Settings().model_aliases]
SESSION = RealtimeSession("sess", "tiny")


def changed(session=SESSION, **sound):
    return session.updated({"type": "transcription", "audio": {"input": sound}}, NAMES)


def test_languages_are_those_of_the_decoder():
    text = (ROOT / "model_repository" / "decoder" / "1" / "text" / "prompt.py").read_text()
    table = text[text.index("LANGUAGES = {") :]
    there = {}
    exec(table[: table.index("}") + 1], there)
    assert there["LANGUAGES"] == LANGUAGES
    assert all(is_language(one) for one in ("en", "English", " CHINESE ", "yue"))
    assert not is_language("tlh")
    assert as_codes(["Cantonese", "Klingon"]) == [{"code": "yue"}, {"code": "Klingon"}]


def test_names_of_openai_are_served_by_default_with_their_snapshots():
    for name in ("whisper-1", "gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", *REALTIME_ONLY):
        assert is_served(name, NAMES)
        assert is_served(f"{name}-2025-12-15", NAMES)
    assert is_served("gpt-4o-transcribe-diarize", NAMES)
    for name in ("gpt-4o", "gpt-4o-transcribe-2025", "gpt-4o-transcribe-2025-12-15\n", "", "-2025-12-15"):
        assert not is_served(name, NAMES)
    assert not knows_turn_detection("gpt-realtime-whisper-2026-05-20")
    assert knows_turn_detection("gpt-transcribe")


def test_a_model_that_knows_no_turns_leaves_them_to_the_client():
    assert SESSION.server_vad
    whisper = changed(transcription={"model": "gpt-realtime-whisper"})
    assert not whisper.server_vad
    assert whisper.as_json()["audio"]["input"]["turn_detection"] is None
    assert whisper.as_settings()["vad"] == "off"
    # What the client has not said itself is the next model's.
    assert changed(whisper, transcription={"model": "gpt-transcribe"}).server_vad
    silent = changed(whisper, turn_detection=None)
    assert not changed(silent, transcription={"model": "gpt-transcribe"}).server_vad
    with pytest.raises(RealtimeMistake) as caught:
        changed(transcription={"model": "gpt-live-transcribe"}, turn_detection={"type": "server_vad"})
    assert caught.value.param == "session.audio.input.turn_detection"


def test_what_an_update_does_not_name_stays_and_what_it_names_is_replaced():
    first = changed(transcription={"prompt": "digits", "keywords": ["one", " "], "languages": ["en"]})
    assert first.as_settings()["context"] == "digits\none"
    assert first.as_settings()["language"] == "en"
    # Clients send their whole configuration again and again.
    for _ in range(3):
        first = changed(first, transcription={"keywords": ["two"], "languages": ["en", "zh"]})
    assert first.as_settings()["context"] == "digits\ntwo"
    assert first.as_settings()["language"] == ""
    assert changed(first, transcription={"language": "zh"}).as_settings()["language"] == "zh"
    assert changed(first, transcription={"language": None, "prompt": None}).as_settings()["context"] == "two"
    assert changed(first, noise_reduction={"type": "near_field"}) == first
    assert changed(first, format=None, transcription=None, noise_reduction=None) == first
    waits = [
        changed(transcription={"delay": delay}).as_settings()["agreement"]
        for delay in ("minimal", "low", "medium", "high", "xhigh")
    ]
    assert waits == sorted(set(waits))
    assert changed(transcription={"delay": None}).as_settings()["agreement"] == waits[1]


KNOWN = (
    "type", "audio", "input", "format", "rate", "transcription", "model", "language", "languages", "prompt", "keywords",
    "delay", "turn_detection", "threshold", "silence_duration_ms", "noise_reduction", "strength", "include",
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(
        ["transcription", "audio/pcm", "audio/pcmu", "tiny", "whisper-1", "en", "server_vad", "low", "near_field"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KNOWN), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(session=VALUES, sound=VALUES)
@example(session={}, sound={"transcription": {"prompt": "\ud800"}})
@example(session={}, sound={"format": {"type": "audio/pcm", "rate": 24_000.0}})
def test_any_update_is_a_session_or_a_mistake(session, sound):
    for wanted in (session, {"audio": {"input": sound}}):
        try:
            result = SESSION.updated(wanted, NAMES)
        except RealtimeMistake:
            continue
        else:
            json.dumps(result.as_json(), ensure_ascii=False).encode()
            assert isinstance(result.rate_hz, int)
            assert all(isinstance(value, str | int | float | bool) for value in result.as_settings().values())


@settings(max_examples=200, deadline=None)
@given(text=st.none() | st.text() | VALUES.map(json.dumps))
async def test_any_message_is_an_event_or_a_mistake(text):
    try:
        event = await parsed(text)
    except RealtimeMistake:
        return
    assert isinstance(event, dict)
    assert name_of(event) is None or isinstance(name_of(event), str)


async def test_large_events_are_worked_on_aside():
    here = threading.get_ident()
    assert await aside(SMALL, threading.get_ident) == here
    assert await aside(SMALL + 1, threading.get_ident) != here


@pytest.mark.parametrize("size", [0, 1, 2, 3, 196_607, 196_608, 196_609, 1_000_000, MAX_APPEND_BYTES])
async def test_audio_of_any_length_is_read(size):
    data = bytes(range(251)) * (size // 251 + 1)
    assert await audio_of({"audio": base64.b64encode(data[:size]).decode()}) == data[:size]


async def test_a_stream_that_has_ended_takes_nothing_more():
    """A server that stops ends a stream whose last chunk may still be under way in a thread."""
    audio = LiveAudio("audio/pcm", 24_000)
    first = audio.convert(bytes(48_000))
    assert abs(len(first + audio.finish()) - 32_000) < 64
    assert audio.convert(bytes(48_000)) == audio.finish() == b""


class Told:
    """Turns and what they tell."""

    def __init__(self, by_vad=False):
        self.events = []
        self.by_vad = by_vad
        self.turns = Turns(self._say)

    async def _say(self, kind, **fields):
        self.events.append((kind, fields))

    async def hear(self, *events):
        for event in events:
            await self.turns.tell(event, by_vad=self.by_vad)

    def of(self, kind, field):
        return [fields[field] for said, fields in self.events if said == kind]


def started(number, start=0.0):
    return {"type": "speech_started", "utterance": number, "start": start}


def partial(number, stable):
    return {"type": "partial", "utterance": number, "stable": stable}


def stopped(number, reason):
    return {"type": "speech_stopped", "utterance": number, "reason": reason, "end": 1.0}


def final(number, text, *, revised=False):
    return {"type": "final", "utterance": number, "text": text, "revised": revised, "start": 0.0, "end": 1.0}


FLUSHED = {"type": "flushed"}


async def test_a_clients_turn_is_one_item_however_many_utterances_it_was():
    told = Told()
    await told.hear(
        started(1), partial(1, "one"), stopped(1, "max_utterance"), final(1, "one two"),
        started(2), partial(2, "three"), stopped(2, "idle"), final(2, "three"),
        started(3), partial(3, "four"), stopped(3, "flush"), final(3, "four five"), FLUSHED,
        started(4), stopped(4, "flush"), final(4, "six"), FLUSHED,
    )  # fmt: skip
    assert told.of(f"{TRANSCRIPTION}.completed", "transcript") == ["one two three four five", "six"]
    first, second = told.of("input_audio_buffer.committed", "item_id")
    assert told.of("input_audio_buffer.committed", "previous_item_id") == [None, first]
    assert told.of(f"{TRANSCRIPTION}.completed", "item_id") == [first, second]
    assert "".join(told.of(f"{TRANSCRIPTION}.delta", "delta")[:-1]) == "one two three four five"
    assert told.of(f"{TRANSCRIPTION}.completed", "usage")[0]["seconds"] == 3.0
    assert not told.of("input_audio_buffer.speech_started", "item_id")


async def test_a_commit_at_a_cut_and_one_of_nothing_have_their_turns_too():
    told = Told()
    await told.hear(started(1), stopped(1, "max_utterance"), final(1, "one"), FLUSHED, FLUSHED)
    assert told.of(f"{TRANSCRIPTION}.completed", "transcript") == ["one", ""]
    assert told.of(f"{TRANSCRIPTION}.completed", "item_id") == told.of("input_audio_buffer.committed", "item_id")


async def test_turns_by_voice_are_one_utterance_each():
    told = Told(by_vad=True)
    await told.hear(started(1), stopped(1, "max_utterance"), final(1, "one"), started(2), partial(2, "two"))
    # The client takes the turns over in the middle of this one.
    told.by_vad = False
    await told.hear(stopped(2, "silence"), final(2, "two"), started(3), stopped(3, "flush"), final(3, "three"), FLUSHED)
    assert told.of(f"{TRANSCRIPTION}.completed", "transcript") == ["one", "two", "three"]
    assert len(told.of("input_audio_buffer.speech_started", "item_id")) == 2
    assert len(told.of("input_audio_buffer.speech_stopped", "item_id")) == 2
    assert len(set(told.of("input_audio_buffer.committed", "item_id"))) == 3


async def test_deltas_only_append_and_what_is_lost_fails_once():
    told = Told()
    lost = {"type": "error", "utterance": 2, "message": "lost", "fatal": False}
    await told.hear(
        started(1), partial(1, "one too"), partial(1, "one"), stopped(1, "flush"),
        final(1, "one two", revised=True), FLUSHED,
        started(2), stopped(2, "max_utterance"), lost, started(3), stopped(3, "flush"), final(3, "three"), FLUSHED,
    )  # fmt: skip
    assert told.of(f"{TRANSCRIPTION}.delta", "delta")[0] == "one too"
    assert told.of(f"{TRANSCRIPTION}.completed", "transcript") == ["one two"]
    assert told.of(f"{TRANSCRIPTION}.failed", "item_id") == told.of("input_audio_buffer.committed", "item_id")[1:]


async def test_what_is_cleared_is_no_turn():
    told = Told()
    await told.hear(started(1), partial(1, "one"), {"type": "reset"}, started(2), stopped(2, "flush"), final(2, "two"))
    assert told.of(f"{TRANSCRIPTION}.completed", "transcript") == ["two"]
    assert told.of(f"{TRANSCRIPTION}.completed", "item_id") != told.of(f"{TRANSCRIPTION}.delta", "item_id")[:1]


class Session:
    """Stands for a live session: keeps what it is sent, says what it is told to."""

    def __init__(self):
        self.sent = []
        self.says = asyncio.Queue()
        self.closed = False

    def send(self, pcm16=b"", parameters=None, *, end=False, tell_heard=False):
        self.sent.append((pcm16, dict(parameters or {}), end, tell_heard))
        if end:
            self.says.put_nowait({"type": "closed", "reason": "end"})

    async def events(self):
        while True:
            event = await self.says.get()
            yield event
            if event["type"] == "closed":
                return

    async def close(self):
        self.closed = True

    @property
    def samples(self):
        return sum(len(pcm16) // 2 for pcm16, *_ in self.sent)


@pytest.fixture
async def fed():
    """A feed, its sessions so far, and a list of what it says."""
    sessions, heard = [], []

    def begin():
        sessions.append(Session())
        return sessions[-1]

    feed = Feed(begin, {"language": "", "vad": "on"})

    async def listen():
        note = heard.append
        async for event in feed.events():
            note(event)

    listening = asyncio.create_task(listen())
    yield feed, sessions, heard
    listening.cancel()


async def turn_of_the_loop(until):
    async def turns():
        while not until():
            await asyncio.sleep(0)

    await asyncio.wait_for(turns(), 5)


async def test_sound_goes_no_faster_than_it_is_heard(fed):
    feed, (session,), heard = fed
    seconds, most, known = 95, 0, 0
    sending = asyncio.create_task(feed.send(bytes(2 * 16_000 * seconds), "flush"))
    while not sending.done():
        await turn_of_the_loop(lambda: sending.done() or session.sent[-1][3])
        most = max(most, session.samples - known)
        known = session.samples
        asked = len(session.sent)
        session.says.put_nowait({"type": "heard"})
        # The next request is the one to speak by.
        await turn_of_the_loop(lambda asked=asked: sending.done() or len(session.sent) > asked)
    assert 16_000 * AHEAD_S < most <= realtime_feed.PIECE + 16_000 * AHEAD_S
    assert session.samples == 16_000 * seconds
    assert [one[1] for one in session.sent if one[1]][-1] == {"command": "flush"}
    assert not heard
    # At the pace of speech nobody waits.
    waits = sum(one[3] for one in session.sent)
    await feed.send(bytes(3_200))
    assert sum(one[3] for one in session.sent) == waits


async def test_what_goes_with_its_server_is_not_waited_for(fed):
    feed, (session,), heard = fed
    sending = asyncio.create_task(feed.send(bytes(2 * 16_000 * 12)))
    await turn_of_the_loop(lambda: session.sent[-1][3])
    session.says.put_nowait({"type": "resumed"})
    await asyncio.wait_for(sending, 5)
    assert [event["type"] for event in heard] == ["resumed"]


async def test_a_silence_ends_a_session_and_sound_begins_the_next_in_its_times(fed, monkeypatch):
    feed, sessions, heard = fed
    monkeypatch.setattr(realtime_feed, "CROSSED_S", 0.0)
    await feed.change({"language": "en"})
    await feed.send(bytes(2 * 16_000))
    sessions[0].says.put_nowait({"type": "final", "utterance": 2, "start_sample": 0, "end_sample": 8_000})
    sessions[0].says.put_nowait({"type": "closed", "reason": "idle"})
    await turn_of_the_loop(lambda: sessions[0].closed)
    assert len(sessions) == 1
    await feed.change({"vad": "off"})
    assert len(sessions) == 1, "settings alone hold no place"
    await feed.send(bytes(2 * 1_600))
    assert [one[1] for one in sessions[1].sent] == [{"language": "", "vad": "on"}, {"language": "en", "vad": "off"}, {}]
    sessions[1].says.put_nowait({"type": "final", "utterance": 1, "start_sample": 0, "end_sample": 1_600})
    await turn_of_the_loop(lambda: len(heard) == 2)
    assert [event["utterance"] for event in heard] == [2, 3]
    assert heard[1]["start_sample"] == 16_000
    assert heard[1]["end"] == 1.1


async def test_sound_that_crossed_with_the_end_is_sent_again(fed):
    feed, sessions, _ = fed
    await feed.send(bytes(3_200), "flush")
    await feed.change({"vad": "off"})
    sessions[0].says.put_nowait({"type": "closed", "reason": "idle"})
    await turn_of_the_loop(lambda: len(sessions) == 2)
    assert [one[:2] for one in sessions[1].sent[2:]] == [(bytes(3_200), {}), (b"", {"command": "flush"})]


async def test_a_client_that_leaves_a_silent_session_is_not_waited_for():
    sessions = []

    def begin():
        sessions.append(Session())
        return sessions[-1]

    feed = Feed(begin, {})
    sessions[0].says.put_nowait({"type": "closed", "reason": "idle"})

    async def listen():
        return [event async for event in feed.events()]

    listening = asyncio.create_task(listen())
    await turn_of_the_loop(lambda: sessions[0].closed)
    feed.finish(b"")
    assert await asyncio.wait_for(listening, 5) == []


async def test_only_an_append_is_large_and_only_by_its_sound():
    sound = base64.b64encode(bytes(3 * MOST_EVENT)).decode()
    append = {"event_id": "a", "type": "input_audio_buffer.append", "audio": sound}
    assert await parsed(json.dumps(append)) == append
    assert await parsed(json.dumps(append, indent=4)) == append
    assert await parsed(json.dumps({**append, "audio": "/" * MOST_EVENT}).replace("/", "\\/")) == {
        **append,
        "audio": "/" * MOST_EVENT,
    }
    for large in (
        {"type": "x", "a": [[]] * MOST_EVENT},
        {**append, "more": "x" * (MOST_EVENT + 1)},
        {"type": "session.update", "session": {"audio": sound}},
        {"type": "session.update", "audio": sound},
        {"type": "input_audio_buffer.append", "nested": {"audio": sound}},
        [{"audio": sound}],
    ):
        with pytest.raises(RealtimeMistake, match="at most"):
            await parsed(json.dumps(large))


def test_only_sound_goes_uncounted():
    append = {"type": "input_audio_buffer.append"}
    assert is_sound({**append, "audio": "A" * SMALL_APPEND})
    for counted in (
        None,
        {**append, "audio": "AAA=", "event_id": "x" * 400},
        {**append, "audio": 7},
        append,
        {"type": "session.update", "session": {"audio": {"input": {"transcription": {"prompt": "x" * 1_000}}}}},
        {"type": "session.update", "audio": "A" * 1_000},
    ):
        assert not is_sound(counted)
