"""What a live session does with a Triton that refuses, forgets and comes back."""

import asyncio
import json

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from export.rooms import room
from frontend.triton import lasting_session
from frontend.triton.client import TritonUnavailable
from frontend.triton.errors import refused
from frontend.triton.lasting_session import LastingSession
from frontend.triton.live_session import MODEL
from frontend.triton.renewals import Renewals

SECOND = bytes(32_000)
OPENED = {"type": "opened"}


class Triton:
    """One stream of each script: of what `asr_stream` says to each request, an event or a refusal."""

    def __init__(self, *scripts):
        self.scripts = [list(script) for script in scripts]
        self.streams = []
        self.renewals = Renewals()
        self.answered = {}

    def note(self, model):
        pass

    def refusal(self, message, kind):
        return refused(message)

    def live_stream(self, requests):
        self.streams.append(Stream(requests, self.scripts.pop(0)))
        return self.streams[-1]

    async def connected(self):
        return self


class Stream:
    def __init__(self, requests, script):
        self.requests, self.script, self.taken = requests, script, []

    async def read(self):
        if not self.script:
            await asyncio.Event().wait()
        said = self.script.pop(0)
        if said is grpc.aio.EOF:
            return said
        if not (isinstance(said, dict) and said["type"] in ("final", "closed")):
            self.taken.append(await anext(self.requests))
        if isinstance(said, str):
            refused = service_pb2.ModelInferResponse(id=self.taken[-1].id)
            return service_pb2.ModelStreamInferResponse(
                error_message=f"INVALID_ARGUMENT: {said}", infer_response=refused
            )
        text = json.dumps(said).encode()
        response = service_pb2.ModelInferResponse(raw_output_contents=[len(text).to_bytes(4, "little") + text])
        return service_pb2.ModelStreamInferResponse(infer_response=response)

    async def code(self):
        return None

    def cancel(self):
        pass


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(lasting_session, "RETRY_FIRST_S", 0.0)


def begun(triton):
    return LastingSession(triton, "name", triton.connected)


async def told(session, until="closed"):
    events = []
    async with asyncio.timeout(5):
        async for event in session.events():
            events.append(event)
            if event["type"] == until:
                break
    await session.close()
    return events


async def test_a_refused_command_is_told_and_not_said_again():
    triton = Triton([OPENED, "100 commands wait to be obeyed", grpc.aio.EOF], [{"type": "opened"}])
    session = begun(triton)
    session.send(SECOND, {"language": "en"})
    session.send(parameters={"command": "flush"})
    _, error, _ = await told(session, "resumed")
    assert error == {"type": "error", "code": "invalid", "message": "100 commands wait to be obeyed", "fatal": False}
    assert not [sent for sent in session._journal.again() if sent.parameters.get("command")]


async def test_settings_that_are_refused_do_not_come_back_with_the_next_server():
    triton = Triton([OPENED, "100 commands wait to be obeyed", grpc.aio.EOF], [{"type": "opened"}])
    session = begun(triton)
    session.send(SECOND, {"language": "en"})
    session.send(parameters={"language": "de"})
    _, error, _ = await told(session, "resumed")
    assert (error["code"], error["fatal"], "number" in error) == ("invalid", False, False)
    assert session._journal.again()[0].parameters["language"] == "en"


async def test_samples_that_are_refused_are_sent_again_in_their_place():
    closed = {"type": "closed", "reason": "end", "end": 2.0, "end_sample": 32_000}
    triton = Triton([OPENED, "110 s of audio wait to be heard: send no faster"], [OPENED, closed])
    session = begun(triton)
    session.send(SECOND, {"language": "en"})
    session.send(SECOND)
    assert [event["type"] for event in await told(session)] == ["opened", "resumed", "closed"]
    assert not triton.scripts


async def test_a_server_that_takes_no_samples_is_not_asked_for_ever():
    refusing = [OPENED, "110 s of audio wait to be heard: send no faster"]
    triton = Triton(*[refusing] * 10)
    session = begun(triton)
    session.send(SECOND, {"language": "en"})
    session.send(SECOND)
    with pytest.raises(TritonUnavailable, match="audio wait"):
        await told(session)
    assert len(triton.streams) == lasting_session.MOST_REFUSALS + 1


async def test_only_the_answer_to_a_resumed_streams_beginning_makes_its_settings_doubtful():
    lost = [OPENED, grpc.aio.EOF]
    error = {"type": "error", "code": "invalid", "message": "command must be one of flush, reset", "fatal": False}
    triton = Triton(lost, [OPENED, error, {"type": "closed", "reason": "end", "end": 0.0, "end_sample": 0}])
    session = begun(triton)
    session.send(SECOND, {"language": "en", "vad": "off"})
    session.send(SECOND)
    assert [event["type"] for event in await told(session)] == ["opened", "resumed", "error", "closed"]
    assert session._journal.again()[0].parameters["language"] == "en"
    triton = Triton(lost, ["language must be known"], [OPENED])
    session = begun(triton)
    session.send(SECOND, {"language": "en"})
    session.send(parameters={"language": "xx"})
    assert [event["type"] for event in await told(session, "resumed")] == ["opened", "resumed"]
    assert session._journal.again()[0].parameters["language"] == "en"


async def test_losses_far_from_each_other_are_not_added_up(monkeypatch):
    monkeypatch.setattr(lasting_session, "WELL_AFTER_S", 0.0)
    losses = lasting_session.MOST_RESUMES + 2
    triton = Triton(*[[OPENED, grpc.aio.EOF]] * losses, [OPENED, {"type": "closed"} | {"reason": "end"}])
    session = begun(triton)
    session.send(SECOND)
    session.send(SECOND)
    assert [event["type"] for event in await told(session)] == ["opened", *["resumed"] * losses, "closed"]


async def test_a_session_that_was_lost_before_it_began_begins_at_another_server():
    closed = {"type": "closed", "reason": "end"}
    lost, other = Triton([grpc.aio.EOF]), Triton([OPENED, closed])
    session = LastingSession(lost, "name", other.connected)
    session.send(SECOND)
    assert [event["type"] for event in await told(session)] == ["opened", "closed"]
    session = begun(Triton([grpc.aio.EOF]))
    session.send(SECOND)
    with pytest.raises(TritonUnavailable):
        await told(session)


async def test_a_session_is_sent_away_with_its_sound_and_first_where_nothing_is_open():
    started = {"type": "speech_started", "utterance": 1, "start": 0.0, "start_sample": 0}
    final = {"type": "final", "utterance": 1, "text": "one", "end": 1.0, "end_sample": 16_000, "start_sample": 0}
    first = Triton([OPENED, started])
    stopped = {"type": "speech_stopped", "utterance": 1, "end": 1.0, "end_sample": 16_000}
    other = Triton([OPENED, started, stopped, final, {"type": "closed", "reason": "end"}])
    session = LastingSession(first, "name", other.connected)
    session.send(SECOND)
    session.send(SECOND)
    events, heard = [], asyncio.Event()

    async def hear():
        async for event in session.events():
            events.append(event["type"])
            heard.set()

    hearing = asyncio.create_task(hear())
    while "speech_started" not in events:
        heard.clear()
        await asyncio.wait_for(heard.wait(), 5)
    assert first.renewals.send_away(MODEL, "drained", at_rest=True) == 0, "somebody speaks"
    assert first.renewals.send_away(MODEL, "drained") == 1
    await asyncio.wait_for(hearing, 5)
    await session.close()
    assert events == ["opened", "speech_started", "resumed", "speech_stopped", "final", "closed"]
    assert b"".join(request.raw_input_contents[0] for request in other.streams[0].taken if request.inputs) == SECOND * 2
    assert session._journal.at_rest


def test_the_words_of_a_refusal_are_those_of_asr_stream():
    with pytest.raises(ValueError, match=lasting_session.TOO_MANY_WAIT):
        room("asr_stream", "inbox").Inbox(1.0).push(np.zeros(32_000, np.float32))
