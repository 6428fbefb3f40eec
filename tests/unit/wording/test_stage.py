"""All steps in their order, and what a request may want of them."""

import dataclasses

import pytest

from frontend.audio.words import Word
from frontend.wording.chat import Endpoint
from frontend.wording.roles import roles
from frontend.wording.stage import Wording, spoken
from frontend.wording.wanted import Wanted, WordingMistake, checked
from tests.chat_server import chat_server

ROLES = roles()
LISTS = ["fillers", "profanity"]
TEXT = "Um, cooper netties has twenty, um, three nodes, shit"


def words_of(text):
    return [Word(one, place, place + 1, 0.9, " " * bool(place)) for place, one in enumerate(text.split())]


async def test_the_steps_are_taken_in_their_order():
    """What a filler parts is one number, and a mask is the last word."""
    seen = []
    wording = Wording(observe=seen.append)
    wanted = Wanted("written", True, ("fillers", "profanity"), hotwords=("Kubernetes",))
    worded = await wording.worded(TEXT, "English", wanted)
    assert worded.text == "Kubernetes has 23 nodes, s***"
    assert worded.recognized == TEXT
    assert list(worded.counts) == ["phonetic", "dropped", "written", "masked"]
    assert worded.told == ({"heard": "cooper netties", "hotword": "Kubernetes", "likeness": 1.0},)
    words = worded.words(words_of(TEXT))
    assert [(word.word, word.start, word.end) for word in words] == [
        ("Kubernetes", 1, 3),
        ("has", 3, 4),
        ("23", 4, 7),
        ("nodes,", 7, 8),
        ("s***", 8, 9),
    ]
    assert seen == [worded]


async def test_nothing_wanted_is_nothing_changed():
    worded = await Wording().worded(TEXT, "English", Wanted())
    assert (worded.text, worded.steps, worded.is_other) == (TEXT, (), False)


async def test_a_language_model_sees_the_written_form_and_no_mask_is_undone():
    with chat_server() as server:
        wording = Wording(Endpoint(server.at("good"), "m", timeout_s=5))
        wanted = Wanted("written", filters=("profanity",), role=ROLES["punctuation"])
        worded = await wording.worded("it has twenty three shits", "English", wanted)
        assert worded.text == "It has 23 s****."
        assert "it has 23 shits" in server.asked[-1]["messages"][1]["content"]
        assert [word.word for word in worded.words(words_of("it has twenty three shits"))] == [
            "It",
            "has",
            "23",
            "s****.",
        ]
        broken = Wording(Endpoint(server.at("broken"), "m", timeout_s=5))
        worded = await broken.worded("it has twenty three", "English", wanted)
        assert (worded.text, bool(worded.error)) == ("it has 23", True)
        await wording.close()
        await broken.close()


async def test_a_long_text_is_worked_on_aside():
    text = " ".join(["it has twenty three nodes."] * 200)
    worded = await Wording().worded(text, "English", Wanted("written"))
    assert worded.text == text.replace("twenty three", "23")


@pytest.mark.parametrize(
    ("heard", "asked", "expected"),
    [
        ("English", "zh", "English"),
        (None, "zh", "Chinese"),
        ("", "german", "German"),
        (None, None, None),
        (None, "x", None),
    ],
)
def test_the_language_is_the_one_that_was_heard(heard, asked, expected):
    assert spoken(heard, asked) == expected


def wants(is_live=False, has_endpoint=True, **given):
    return checked(given, LISTS, ROLES, has_endpoint=has_endpoint, is_live=is_live)


def test_what_is_wanted_may_come_as_text():
    wanted = wants(text_format="written", phonetic="true", filters="fillers, profanity", mask="all", correct="terms")
    assert wanted == Wanted("written", True, ("fillers", "profanity"), "all", ROLES["terms"])
    assert wants(correct="true").role is wants(correct=True).role is ROLES["punctuation"]
    assert wants(correct="false", phonetic="false", filters=[]) == wants() == Wanted()
    assert wants(filters=["fillers,profanity"]).filters == ("fillers", "profanity")
    assert wants(correct="summarize").tells
    assert not wants(correct="summarize").rewrites


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({"text_format": "spoken"}, "text_format", None),
        ({"phonetic": "perhaps"}, "phonetic", None),
        ({"phonetic": 3.5}, "phonetic", None),
        ({"filters": "poetry"}, "filters", None),
        ({"filters": {"a": 1}}, "filters", None),
        ({"filters": [1]}, "filters", None),
        ({"filters": [f"f{number}" for number in range(30)]}, "filters", None),
        ({"mask": "some"}, "mask", None),
        ({"mask": ["all"]}, "mask", None),
        ({"correct": "poetry"}, "correct", None),
        ({"correct": ["terms"]}, "correct", None),
        ({"correct": "terms", "has_endpoint": False}, "correct", "correction_unavailable"),
        ({"correct": "summarize", "is_live": True}, "correct", None),
    ],
)
def test_a_mistake_names_its_field(given, param, code):
    with pytest.raises(WordingMistake) as mistake:
        wants(**given)
    assert (mistake.value.param, mistake.value.code) == (param, code)


def test_what_is_wanted_says_whether_the_text_becomes_another():
    fields = [{"text_format": "written"}, {"phonetic": True}, {"filters": ("fillers",)}, {"role": ROLES["terms"]}]
    for given in fields:
        wanted = dataclasses.replace(Wanted(), **given)
        assert wanted.rewrites
        assert wanted.named in ("text_format", "phonetic", "filters", "correct")
