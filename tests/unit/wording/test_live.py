"""A live session's events, with its finals as they are to be written."""

import asyncio
import json

import pytest

from frontend.api import duplex, live_wording
from frontend.api.live_wording import LiveWording
from frontend.triton.client import TritonUnavailable
from frontend.wording import stage
from frontend.wording.chat import Endpoint
from frontend.wording.stage import Wording
from frontend.wording.wanted import WordingMistake
from tests.chat_server import chat_server

SECRET = "nobody is to read this"


def final(number, text="twenty three", **more):
    return {"type": "final", "utterance": number, "text": text, "revised": False, "language": "English", **more}


def partial(number, stable):
    return {"type": "partial", "utterance": number, "stable": stable, "text": stable}


async def told(live, *events):
    async def said():
        for event in events:
            yield event

    return [event async for event in live.events(said())]


async def test_a_final_is_rewritten_and_says_whether_it_goes_on_from_what_was_stable():
    live = LiveWording(Wording())
    live.change({"text_format": "written", "silence_ms": 100}, {"silence_ms": 100})
    events = await told(live, partial(1, "twenty"), final(1), partial(2, "I"), final(2, "I have twenty three"))
    assert [(event["text"], event["revised"]) for event in events if event["type"] == "final"] == [
        ("23", True),
        ("I have 23", False),
    ]
    assert events[1]["recognized"] == "twenty three"
    await live.close()


async def test_what_is_not_rewritten_is_told_as_it_is():
    live = LiveWording(Wording())
    event = final(1)
    assert await told(live, event) == [event]
    live.change({"text_format": "written"}, {})
    assert "recognized" not in (await told(live, final(1, "hello")))[0]
    live.change({"text_format": "recognized"}, {})
    assert (await told(live, event))[0]["text"] == "twenty three"
    await live.close()


async def test_hotwords_of_the_recognizer_are_those_of_the_wording():
    live = LiveWording(Wording())
    live.change({"phonetic": True}, {"hotwords": '["Kubernetes"]'})
    live.change({"mask": "all"}, {})
    assert (await told(live, final(1, "cooper netties")))[0]["text"] == "Kubernetes"
    live.change({}, {"hotwords": ""})
    assert (await told(live, final(1, "cooper netties")))[0]["text"] == "cooper netties"
    await live.close()


async def test_a_mistake_changes_nothing():
    live = LiveWording(Wording())
    live.change({"text_format": "written"}, {})
    with pytest.raises(WordingMistake):
        live.change({"text_format": "recognized", "mask": "some"}, {})
    assert (await told(live, final(1)))[0]["text"] == "23"
    await live.close()


async def test_words_that_follow_are_those_of_the_final_they_are_of():
    live = LiveWording(Wording())
    live.change({"text_format": "written"}, {})
    words = [
        {"word": word, "start": at, "end": at + 1, "confidence": 0.9} for at, word in enumerate(["twenty", "three"])
    ]
    events = await told(live, final(1, words_follow=True), {"type": "words", "utterance": 1, "words": words})
    assert events[1]["words"] == [{"word": "23", "start": 0, "end": 2, "confidence": 0.9}]
    other = [{**words[0], "word": "another"}]
    events = await told(live, final(1, words_follow=True), {"type": "words", "utterance": 1, "words": other})
    assert events[1]["words"] == []
    assert "not those of the text" in events[1]["words_error"]
    await live.close()


async def test_corrections_are_bounded_and_come_before_the_end():
    with chat_server() as server:
        wording = Wording(Endpoint(server.at("slow"), "m", timeout_s=1))
        live = LiveWording(wording)
        live.change({"correct": "true"}, {})
        count = 3 * live_wording.MOST_WAITING
        finals = [final(number, "hello") for number in range(1, count + 1)]
        events = await asyncio.wait_for(told(live, *finals, {"type": "closed"}), 60)
        corrected = [event for event in events if event["type"] == "corrected"]
        assert sorted(event["utterance"] for event in corrected) == list(range(1, count + 1))
        assert {event["text"] for event in corrected} == {"hello"}
        errors = [event["correction_error"] for event in corrected]
        assert 0 < len(errors) - errors.count(live_wording.TOO_MANY) <= live_wording.MOST_WAITING
        assert events[-1]["type"] == "closed"
        await live.close()
        await wording.close()


def silent(timeout_s=60.0):
    """An endpoint that is asked, and does not answer while the test lasts."""
    wording = Wording(Endpoint("http://127.0.0.1:9/v1", "m", timeout_s=timeout_s))

    async def body(question):
        await asyncio.Event().wait()

    wording._chat._body = body
    return wording


def corrections(events):
    return [(event["utterance"], event["text"], event.get("correction_error")) for event in events
            if event["type"] == "corrected"]  # fmt: skip


async def test_each_correction_that_was_promised_is_told_before_the_end(monkeypatch):
    """Whatever the endpoint's time is."""
    assert live_wording.LAST_S < duplex.LAST_WORDS_S
    monkeypatch.setattr(live_wording, "LAST_S", 0.05)
    live = LiveWording(silent())
    live.change({"correct": "true", "filters": ["profanity"]}, {})
    events = await asyncio.wait_for(told(live, final(1, "oh shit"), final(2, "no"), {"type": "closed"}), 30)
    assert corrections(events) == [(1, "oh s***", live_wording.TOO_LATE), (2, "no", live_wording.TOO_LATE)]
    assert events[-1]["type"] == "closed"
    # Of a session that ends without a word.
    assert corrections(await asyncio.wait_for(told(live, final(3, "no")), 30)) == [(3, "no", live_wording.TOO_LATE)]
    await live.close()


async def test_each_correction_is_told_also_when_the_recognizer_is_lost():
    live = LiveWording(silent())
    live.change({"correct": "true"}, {})

    async def said():
        yield final(1, "no")
        raise TritonUnavailable("gone")

    events = live.events(said())
    seen = [await asyncio.wait_for(anext(events), 30) for _ in range(2)]
    with pytest.raises(TritonUnavailable):
        await asyncio.wait_for(anext(events), 30)
    assert corrections(seen) == [(1, "no", live_wording.TOO_LATE)]
    await live.close()


async def test_a_live_question_has_a_time_of_its_own(monkeypatch):
    monkeypatch.setattr(live_wording, "MOST_LIVE_S", 0.05)
    live = LiveWording(silent(timeout_s=600))
    live.change({"correct": "true"}, {})
    events = await asyncio.wait_for(told(live, final(1, "no"), {"type": "closed"}), 30)
    assert corrections(events) == [(1, "no", live_wording.TOO_SLOW)]
    await live.close()


async def test_what_cannot_be_loaded_or_fails_ends_no_session(monkeypatch, caplog):
    def load(wanted):
        raise ModuleNotFoundError(SECRET)

    async def rewritten(text, role):
        raise KeyError(text)

    monkeypatch.setattr(stage, "_load", load)
    wording = silent()
    monkeypatch.setattr(wording._correction, "rewritten", rewritten)
    live = LiveWording(wording)
    live.change({"correct": "true", "text_format": "written"}, {})
    events = await asyncio.wait_for(told(live, final(1, SECRET), {"type": "closed"}), 30)
    assert corrections(events) == [(1, SECRET, stage.FAILED)]
    assert [event["type"] for event in events] == ["final", "corrected", "closed"]
    assert "ModuleNotFoundError" in caplog.text
    assert "KeyError" in caplog.text
    assert SECRET not in caplog.text
    await live.close()
    # A file neither.
    worded = await wording.worded(SECRET, "English", live.checked({}))
    assert (worded.text, worded.error) == (SECRET, stage.FAILED)


async def test_half_a_character_of_an_endpoint_ends_no_session():
    with chat_server() as server:
        wording = Wording(Endpoint(server.at("halved"), "m", timeout_s=5))
        live = LiveWording(wording)
        live.change({"correct": "true"}, {})
        events = await asyncio.wait_for(told(live, final(1, "hello"), {"type": "closed"}), 30)
        json.dumps(events, ensure_ascii=False).encode()
        ((number, text, error),) = corrections(events)
        assert (number, text) == (1, "hello")
        assert "half a character" in error
        await live.close()
        await wording.close()
