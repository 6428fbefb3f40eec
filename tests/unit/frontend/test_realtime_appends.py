"""A Realtime client that appends a little at a time: what of it becomes requests, and in which order."""

import asyncio
import base64
import json
from types import SimpleNamespace

import pytest

from frontend.api.realtime import LEAST_BYTES, Connection
from frontend.api.realtime_session import RealtimeSession
from frontend.guard.shortcut import SHORTCUT, Shortcut
from frontend.settings import Settings
from frontend.wording.hotwords import HotwordLists
from frontend.wording.stage import Wording

NAMES = ["tiny", *Settings().model_aliases]
# At the rate of the models, so that every byte of sound comes out as it went in.
SESSION = RealtimeSession("sess", "tiny").updated(
    {"type": "transcription", "audio": {"input": {"format": {"type": "audio/pcmu"}}}}, NAMES
)


class Client:
    """A WebSocket whose client sends these events and leaves."""

    def __init__(self, events):
        self._messages = [{"type": "websocket.receive", "text": json.dumps(event)} for event in events]
        self._messages.append({"type": "websocket.disconnect"})
        self.app = SimpleNamespace(
            state=SimpleNamespace(
                settings=Settings(live_messages_per_s=1e6), hotword_lists=HotwordLists(None), wording=Wording()
            )
        )
        self.told = []
        self.shortcut = Shortcut()
        self.scope = {"extensions": {SHORTCUT: self.shortcut}}

    async def receive(self):
        return self._messages.pop(0)

    async def send_text(self, text):
        self.told.append(json.loads(text))


class Live:
    """Keeps what it is sent: bytes, and commands and settings by name."""

    def __init__(self):
        self.sent = []

    async def send(self, pcm16=b"", command=""):
        self.sent += [one for one in (pcm16, command) if one]

    async def change(self, settings):
        self.sent.append("settings")

    def finish(self, pcm16):
        self.sent += [pcm16, "end"]


def append(num_bytes):
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(num_bytes)).decode()}


async def heard(*events):
    client, live = Client(events), Live()
    connection = Connection(client, live, SESSION, NAMES)
    await asyncio.wait_for(connection._speak(), 5)
    assert not [one for one in client.told if one["type"] == "error"]
    return live.sent


async def test_a_little_sound_at_a_time_is_a_request_for_each_20_ms():
    # A millisecond of mu-law at 8 kHz each: two bytes at 16 kHz for each of its bytes, and as many samples more.
    sent = await heard(*[append(8)] * 1_000)
    assert len(sent) <= 1_000 / 20
    assert all(len(one) >= LEAST_BYTES for one in sent)
    assert 32_000 - 2 * LEAST_BYTES <= sum(map(len, sent)) <= 32_000


async def test_of_what_a_client_sent_that_is_gone_the_rest_is_dropped():
    """It may have sent minutes of sound in one event, which is no connection's any more, and yet in memory."""
    client, live = Client([append(480_000)]), Live()
    connection = Connection(client, live, SESSION, NAMES)

    async def send(pcm16=b"", command=""):
        live.sent.append(pcm16)
        client.shortcut.left = len(live.sent) == 2

    live.send = send
    await asyncio.wait_for(connection._speak(), 5)
    assert len(live.sent) == 2


@pytest.mark.parametrize(
    ("event", "then"),
    [
        ({"type": "input_audio_buffer.commit"}, "flush"),
        ({"type": "input_audio_buffer.clear"}, "reset"),
        ({"type": "session.update", "session": {"type": "transcription"}}, "settings"),
    ],
)
async def test_what_waits_for_more_goes_before_what_is_said_after_it(event, then):
    sent = await heard(append(800), append(40), append(40), event)
    assert [one if isinstance(one, str) else "sound" for one in sent] == ["sound", "sound", then]
    assert sum(map(len, sent[:2])) > 2 * 2 * 840
