"""What sounds like a phrase that is expected becomes it, and nothing else does."""

import pytest

from frontend.wording.edits import applied
from frontend.wording.phonetic import MOST_HOTWORDS, as_edits, replacements


def heard(text, *hotwords, language=None):
    return applied(text, as_edits(replacements(text, hotwords, language)))


@pytest.mark.parametrize(
    ("text", "hotword", "expected"),
    [
        ("We run cooper netties here.", "Kubernetes", "We run Kubernetes here."),
        ("Kathrin Smith's brother", "Kathryn Smyth", "Kathryn Smyth's brother"),
        ("ask open eye about it", "OpenAI", "ask OpenAI about it"),
        ("Herr Mueler kommt", "Müller", "Herr Müller kommt"),
        ("我叫章炜。", "张伟", "我叫张伟。"),
        ("用同意千问回答", "通义千问", "用通义千问回答"),
        ("王小明说", "王晓明", "王晓明说"),
    ],
)
def test_what_sounds_like_it_becomes_it(text, hotword, expected):
    assert heard(text, hotword) == expected


@pytest.mark.parametrize(
    ("text", "hotword"),
    [
        ("We turned around during the day.", "Turing"),
        ("the copper. Netties are gone", "Kubernetes"),
        ("他去上海", "伤害"),
        ("Kathryn Smyth is here", "Kathryn Smyth"),
        ("kathryn smyth is here", "Kathryn Smyth"),
        ("a no in on", "Anna"),
        ("Московский", "Москва"),
        ("12 34", "1234"),
    ],
)
def test_what_is_another_word_or_the_hotword_itself_stays(text, hotword):
    assert heard(text, hotword) == text


def test_what_is_another_hotword_stays():
    assert heard("Katherine and Cathrin", "Katherine", "Catarina Smith", "Kathryn") == "Katherine and Kathryn"


def test_chinese_characters_are_not_read_so_in_japanese():
    assert heard("章炜", "张伟", language="Japanese") == "章炜"
    assert heard("章炜", "张伟", language="Chinese") == "张伟"


def test_what_was_replaced_is_told():
    (one,) = replacements("We run cooper netties here.", ["Kubernetes"])
    assert (one.start, one.end, one.heard, one.phrase) == (7, 21, "cooper netties", "Kubernetes")
    assert 0.6 < one.likeness <= 1


def test_more_hotwords_than_are_served_are_not_looked_at():
    hotwords = [f"Name{number}xyz" for number in range(MOST_HOTWORDS)]
    assert heard("cooper netties", *hotwords, "Kubernetes") == "cooper netties"


def test_hotwords_that_make_no_sound_are_none():
    assert heard("ah eh", "", " ", "!!", "a", "阿", "é", "嗯") == "ah eh"
