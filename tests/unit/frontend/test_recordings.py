"""A recording's segments while the Triton behind them fails: asked again, told once. The client here is scripted."""

import numpy as np
import pytest

from frontend.audio import recordings
from frontend.audio.decode_pool import DecodePool
from frontend.audio.recordings import Options, Recording
from frontend.triton.client import Delta, TritonRefused, TritonUnavailable

RESULT = {"text": "one two three", "language": "English", "finish_reason": "stop", "usage": {}, "timings_ms": {}}


def delta(text, token, result=None):
    return Delta(text, (token,), (text.encode(),), (-0.1,), result)


WORDS = [delta("one", 1), delta(" two", 2), delta(" three", 3, RESULT)]


class Scripted:
    """Each call plays the next script: deltas, and an exception where it is one."""

    def __init__(self, *scripts):
        self.scripts = list(scripts)
        self.names = []

    async def transcribe(self, pcm, *, request_id, **_):
        self.names.append(request_id)
        for step in self.scripts.pop(0):
            if isinstance(step, Exception):
                raise step
            yield step


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(recordings, "RETRY_FIRST_S", 0.001)
    monkeypatch.setattr(recordings, "RETRY_MOST_S", 0.002)


async def heard(client, **options):
    async def connected():
        return client

    parts = iter([np.zeros(16_000, dtype=np.float32)])
    pool = DecodePool(threads=1, part_s=10, most_waiting=1)
    recording = Recording(connected, parts, Options("name", **options), at_a_time=1, pool=pool)
    try:
        return [piece async for piece in recording.pieces()]
    finally:
        pool.close()


@pytest.mark.parametrize("failure", [TritonUnavailable("gone"), TritonRefused("Stub process is not healthy")])
@pytest.mark.parametrize("after", [0, 1, 2])
async def test_what_was_told_is_not_told_again(failure, after):
    client = Scripted([*WORDS[:after], failure], [*WORDS[:1], failure], WORDS)
    pieces = await heard(client)
    assert "".join(piece.text for piece in pieces) == "one two three"
    assert [token.data for piece in pieces for token in piece.tokens] == [b"one", b" two", b" three"]
    assert pieces[-1].segment.text == "one two three"
    assert len(pieces[-1].segment.tokens) == 3
    assert len(client.names) == 3


@pytest.mark.parametrize("reason", ["cancelled", "evicted"])
async def test_a_dropped_request_is_asked_again_and_never_an_empty_answer(reason):
    dropped = delta("", 9, {**RESULT, "text": "", "finish_reason": reason})
    pieces = await heard(Scripted([dropped], WORDS))
    assert "".join(piece.text for piece in pieces) == "one two three"
    with pytest.raises(TritonUnavailable, match="dropped"):
        await heard(Scripted(*[[dropped]] * 1_000), patience_s=0.02)


async def test_a_mistake_and_a_full_house_are_told_at_once():
    for error in (TritonRefused("no such language", invalid=True), TritonRefused("full", busy=True)):
        client = Scripted([error], WORDS)
        with pytest.raises(TritonRefused, match=str(error)):
            await heard(client)
        assert len(client.names) == 1


async def test_a_model_that_always_fails_is_given_up():
    client = Scripted(*[[TritonRefused("the decoder failed")]] * 100)
    with pytest.raises(TritonRefused, match="the decoder failed"):
        await heard(client)
    assert len(client.names) == recordings.MOST_FAILURES


async def test_text_that_was_told_is_never_contradicted():
    other = [delta("four", 4), delta(" five", 5, {**RESULT, "text": "four five"})]
    with pytest.raises(TritonUnavailable, match="otherwise"):
        await heard(Scripted([WORDS[0], TritonUnavailable("gone")], *[other] * 1_000), patience_s=0.02)


async def test_voice_activity_that_always_fails_is_given_up():
    class Failing(Scripted):
        async def vad(self, pcm, state):
            self.names.append("vad")
            raise TritonRefused("vad failed")

    client = Failing()
    with pytest.raises(TritonRefused, match="vad failed"):
        await heard(client, rules=recordings.SegmentRules())
    assert len(client.names) == recordings.MOST_FAILURES
