"""No text holds up the event loop: what may take long is done in threads, and its work is bounded."""

import asyncio
import itertools
import threading

import pytest

from frontend.wording import aside, phonetic, sounds, stage
from frontend.wording.edits import Edit, applied
from frontend.wording.phonetic import as_edits, replacements
from frontend.wording.stage import Wording
from frontend.wording.wanted import Wanted

ALIKE = ["".join(one) for one in itertools.product("张章璋彰", "伟玮炜维", "卫未为", "张章璋彰")]
MANY = tuple(ALIKE[:200])


def where_worked(monkeypatch):
    threads = []

    def form(text, language):
        threads.append(threading.current_thread())
        return []

    monkeypatch.setattr(stage.written, "written_form", form)
    return threads


@pytest.mark.parametrize(
    ("text", "wanted", "name"),
    [
        ("it is here", Wanted("written"), threading.main_thread().name),
        ("it is here", Wanted("written", phonetic=True, hotwords=MANY), "wording_0"),
        ("三" * 100, Wanted("written"), "wording_0"),
        ("three " * 1_000, Wanted("written"), "wording-long_0"),
    ],
)
async def test_what_may_take_long_is_worked_on_aside_and_short_texts_by_themselves(monkeypatch, text, wanted, name):
    threads = where_worked(monkeypatch)
    await Wording().worded(text, "English", wanted)
    assert [thread.name for thread in threads] == [name]


async def test_a_live_final_waits_for_no_recording_and_a_short_text_for_no_long_one(monkeypatch):
    goes_on = threading.Event()
    long = asyncio.create_task(aside.aside(goes_on.wait, size=100_000))
    try:
        assert await aside.aside(lambda: "done", size=100) == "done"
        short = asyncio.create_task(aside.aside(goes_on.wait, size=100))
        threads = where_worked(monkeypatch)
        await Wording().final("three " * 20, "English", Wanted("written"))
        assert [thread.name for thread in threads] == ["wording-live_0"]
        assert not long.done()
        assert not short.done()
    finally:
        goes_on.set()
    await asyncio.gather(long, short)


async def test_a_text_that_takes_too_long_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(aside, "PATIENCE_S", 0.05)
    goes_on = threading.Event()

    def form(text, language):
        goes_on.wait(10)
        return [Edit(0, len(text), "x")]

    monkeypatch.setattr(stage.written, "written_form", form)
    try:
        worded = await Wording().worded("three " * 20, "English", Wanted("written"))
        assert worded.text == "three " * 20
    finally:
        goes_on.set()


async def test_a_step_that_fails_is_logged_without_the_text(monkeypatch, caplog):
    def form(text, language):
        raise ValueError(text)

    monkeypatch.setattr(stage.written, "written_form", form)
    worded = await Wording().worded("a secret", "English", Wanted("written"))
    assert worded.text == "a secret"
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def counted(monkeypatch, module, name):
    calls = []
    real = getattr(module, name)

    def count(*arguments):
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(module, name, count)
    return calls


def test_hotwords_that_all_sound_like_all_of_a_text_are_compared_a_bounded_number_of_times(monkeypatch):
    calls = counted(monkeypatch, phonetic, "_syllables_apart")
    text = "".join(itertools.islice(itertools.cycle("璋维卫彰炜未章"), 3_000))
    replacements(text, MANY, "Chinese")
    assert 0 < len(calls) <= phonetic.MOST_COMPARED
    # The same phrase at the same place is compared once, though both of its ends are alike.
    assert len(calls) == len(set(calls)) or len(calls) < phonetic.MOST_COMPARED
    calls = counted(monkeypatch, phonetic, "_likeness")
    names = ["k" + "".join(vowel + consonant for vowel, consonant in zip(one, "rnl", strict=True))
             for one in itertools.product("aeiou", repeat=3)]  # fmt: skip
    replacements("kirenul " * 500, names, "English")
    assert 0 < len(calls) <= phonetic.MOST_COMPARED


def test_each_hotword_is_compared_once_with_a_place(monkeypatch):
    calls = counted(monkeypatch, phonetic, "_syllables_apart")
    assert applied("同意千问", as_edits(replacements("同意千问", ["通义千问"]))) == "通义千问"
    assert len(calls) == 1
    calls = counted(monkeypatch, phonetic, "_likeness")
    replacements("kathrin", ["Kathryn"])
    assert len(calls) == 1


def test_a_grammar_gets_so_much_at_a_time_as_it_takes_a_moment_for():
    from frontend.wording.grammar import MOST_CHARACTERS, written

    assert (
        written("zh", "一千二百三十四亿五千六百七十八万九千零一十二") != "一千二百三十四亿五千六百七十八万九千零一十二"
    )
    endless = "一千" * MOST_CHARACTERS["zh"]
    assert written("zh", endless) == endless
    assert sounds.readings("一")
