"""A recording's segments while a language model is slow: it costs no file, and no place of the recognizer."""

import asyncio
import time
import weakref

import numpy as np

from frontend.audio import rewriting
from frontend.audio.recordings import Options, Recording
from frontend.audio.rewriting import Rewriting
from frontend.audio.segments import SegmentRules
from frontend.audio.timed import Timed
from frontend.wording.chat import Endpoint
from frontend.wording.roles import roles
from frontend.wording.stage import NO_TIME, Wording
from frontend.wording.wanted import Wanted
from tests.unit.frontend.test_recordings import WORDS, Scripted

WANTED = Wanted(role=roles()["punctuation"])
TOLD = Wanted(role=roles()["summarize"])


class Held:
    """A wording whose endpoint answers when it is let."""

    def __init__(self):
        self.wording = Wording(Endpoint("http://127.0.0.1:9/v1", "m", timeout_s=600))
        self.goes_on = asyncio.Event()
        self.at_a_time = self.most = self.count = 0
        self.wording._chat._body = self.body

    async def body(self, question):
        self.at_a_time += 1
        self.count += 1
        self.most = max(self.most, self.at_a_time)
        try:
            await self.goes_on.wait()
        finally:
            self.at_a_time -= 1
        return b'{"choices": [{"message": {"content": "One, two three."}}]}'


async def until(is_so):
    async with asyncio.timeout(30):
        while not is_so():
            await asyncio.sleep(0.001)


async def test_when_the_time_for_it_is_over_segments_go_out_as_they_are():
    held = Held()
    made = Rewriting(held.wording, WANTED, until=time.monotonic() + 0.05)
    one = Timed(0, 1, "one two three")
    segments = await asyncio.wait_for(asyncio.gather(*(made.of(one, "English") for _ in range(20))), 30)
    assert {(segment.text, segment.correction_error) for segment in segments} == {("one two three", NO_TIME)}
    questions = held.count
    assert (await made.of(one, "English")).correction_error == NO_TIME
    assert held.count == questions
    assert not held.wording._chat.rests


async def test_what_is_told_about_a_text_is_not_waited_for_longer():
    held = Held()
    about = await asyncio.wait_for(held.wording.about("one two three", TOLD, 0.05), 30)
    assert about == {"about": {"role": "summarize", "text": ""}, "correction_error": NO_TIME}


async def test_parts_of_a_segment_are_asked_about_together_a_few_at_a_time():
    held = Held()
    parts = tuple(Timed(at, at + 1, "one two three", speaker="AB"[at % 2]) for at in range(9))
    asking = asyncio.create_task(Rewriting(held.wording, WANTED).of(Timed(0, 9, "", parts=parts), "English"))
    await until(lambda: held.at_a_time == rewriting.AT_A_TIME)
    held.goes_on.set()
    segment = await asyncio.wait_for(asking, 30)
    assert segment.text == " ".join(["One, two three."] * 9)
    assert [part.speaker for part in segment.parts] == list("ABABABABA")
    assert (held.most, held.count) == (rewriting.AT_A_TIME, 9)


async def test_a_segment_that_waits_for_a_language_model_holds_no_place_and_no_samples():
    held = Held()
    client = Scripted(*[WORDS] * 11)
    samples = []

    class Listening(Scripted):
        def transcribe(self, pcm, **asked):
            samples.append(weakref.ref(pcm))
            return client.transcribe(pcm, **asked)

    async def connected():
        return Listening()

    parts = iter([np.zeros(16_000, dtype=np.float32)] * 30)
    rules = SegmentRules(max_s=5)
    recording = Recording(
        connected,
        parts,
        Options("name", rules=rules),
        at_a_time=1,
        pool=None,
        rewriting=Rewriting(held.wording, WANTED),
    )

    async def all_of():
        return [piece async for piece in recording.pieces()]

    reading = asyncio.create_task(all_of())
    # All are recognized, with one place, before any is corrected.
    await until(lambda: held.at_a_time == rewriting.AT_A_TIME)
    await until(lambda: len(client.names) == 11)
    await until(lambda: sum(one() is not None for one in samples) <= 1)
    held.goes_on.set()
    pieces = await asyncio.wait_for(reading, 30)
    assert "".join(piece.text for piece in pieces) == " ".join(["One, two three."] * 11)
