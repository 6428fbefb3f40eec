"""A live session's events, with its finals as they are to be written."""

import asyncio

import pytest

from frontend.api import live_wording
from frontend.api.live_wording import LiveWording
from frontend.wording.chat import Endpoint
from frontend.wording.stage import Wording
from frontend.wording.wanted import WordingMistake
from tests.chat_server import chat_server


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
