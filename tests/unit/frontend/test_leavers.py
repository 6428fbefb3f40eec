"""A client that leaves before the first word of its answer: what is done for it ends."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from frontend.api import transcription_job
from frontend.app import create_app
from frontend.audio.decode_pool import DecodePool
from frontend.settings import Settings
from tests.conftest import RECORDINGS


class Triton:
    """Takes a clip, and never says a word of it."""

    def __init__(self):
        self.asked, self.ended = asyncio.Event(), 0

    async def transcribe(self, pcm, **_):
        self.asked.set()
        try:
            await asyncio.Event().wait()
            yield
        finally:
            self.ended += 1


class Backend:
    """Counts who works with it."""

    served_model_name = "tiny"
    has_aligner = has_speakers = False

    def __init__(self):
        self.triton, self.active = Triton(), 0

    @contextlib.asynccontextmanager
    async def use(self):
        self.active += 1
        try:
            yield self.triton
        finally:
            self.active -= 1

    async def connected(self):
        return self.triton


def form(**fields):
    parts = [
        b'--b\r\ncontent-disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (k.encode(), v) for k, v in fields.items()
    ]
    head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.flac"\r\n\r\n'
    return b"".join(parts) + head + (RECORDINGS / "english.flac").read_bytes() + b"\r\n--b--\r\n"


@pytest.mark.parametrize("stream", [b"true", b"false"])
async def test_who_leaves_before_the_first_word_is_worked_for_no_more(stream, monkeypatch):
    monkeypatch.setattr(transcription_job, "DISCONNECT_POLL_S", 0.01)
    app, backend = create_app(Settings()), Backend()
    app.state.backend, app.state.decoders = backend, DecodePool(1, 20.0, 8)
    app.state.drain = SimpleNamespace(num_sessions=0)
    body, sent = [form(model=b"tiny", stream=stream)], []

    async def receive():
        if body:
            return {"type": "http.request", "body": body.pop(), "more_body": False}
        await backend.triton.asked.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/audio/transcriptions",
        "raw_path": b"/v1/audio/transcriptions",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"multipart/form-data; boundary=b")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8100),
    }
    # Without an end to it this waits for a Triton that never speaks.
    await asyncio.wait_for(app(scope, receive, send), 20)
    app.state.decoders.close()
    assert backend.triton.ended == 1
    assert backend.active == 0
    assert (app.state.places.working.total, app.state.places.num_bytes.total) == (0, 0)
    # Nobody hears it.
    assert sent[0]["status"] == 499
