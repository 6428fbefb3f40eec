"""A recording's segments while the Triton behind them fails: asked again, told once. The client here is scripted."""

import numpy as np
import pytest

from frontend.audio import attempts, recordings
from frontend.audio.decode_pool import DecodePool, DecodersBusy
from frontend.audio.recordings import Options, Recording
from frontend.audio.segments import SegmentRules
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
        self.timeouts = []

    async def vad(self, pcm, state):
        """A window in ten is silent."""
        speech = np.arange(pcm.size // 512) % 10 < 9
        return speech.astype(np.float32), state

    async def transcribe(self, pcm, *, request_id, timeout_s, **_):
        self.names.append(request_id)
        self.timeouts.append(timeout_s)
        for step in self.scripts.pop(0):
            if isinstance(step, Exception):
                raise step
            yield step


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(attempts, "RETRY_FIRST_S", 0.001)
    monkeypatch.setattr(attempts, "RETRY_MOST_S", 0.002)


async def heard(client, seconds=1, **options):
    async def connected():
        return client

    parts = iter([np.zeros(16_000, dtype=np.float32)] * seconds)
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
    assert len(client.names) == attempts.MOST_FAILURES


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
    assert len(client.names) == attempts.MOST_FAILURES


RULES = SegmentRules(max_s=2.0, early_s=1.0)
SEGMENT = [delta("one", 1, {**RESULT, "text": "one"})]


@pytest.mark.parametrize("reason", ["cancelled", "evicted", TritonRefused("try again later", busy=True)])
async def test_a_busy_segment_fails_no_file(reason):
    """The second one finds no place, is dropped, and is answered at last; the others are not asked again."""
    failed = [reason] if isinstance(reason, Exception) else [delta("", 9, {**RESULT, "finish_reason": reason})]
    client = Scripted(SEGMENT, failed, failed, *[SEGMENT] * 9)
    pieces = await heard(client, seconds=8, rules=RULES)
    ends = [piece.segment.end for piece in pieces if piece.segment]
    assert "".join(piece.text for piece in pieces) == " ".join(["one"] * len(ends))
    assert ends == sorted(set(ends))
    assert len(ends) >= 3
    assert client.names[1:4] == ["name-1"] * 3
    assert len(client.names) == len(ends) + 2


async def test_a_segment_has_a_deadline_of_its_own():
    busy = TritonRefused("try again later", busy=True)
    with pytest.raises(TritonRefused, match="try again"):
        await heard(Scripted(SEGMENT, *[[busy]] * 10_000), seconds=8, rules=RULES, patience_s=0.05)
    client = Scripted(WORDS)
    await heard(client, patience_s=300)
    # Half of it, so that there is time for another attempt after one that hangs.
    assert 149 < client.timeouts[0] <= 150
    client = Scripted(WORDS)
    await heard(client, patience_s=20)
    assert 19 < client.timeouts[0] <= 20


async def test_a_full_pool_is_told_before_anything_is_decoded(monkeypatch):
    def full(_):
        raise DecodersBusy("full")

    monkeypatch.setattr(DecodePool, "check", full)
    client = Scripted(WORDS)
    with pytest.raises(DecodersBusy):
        await heard(client)
    assert client.names == []
