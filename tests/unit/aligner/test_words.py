"""Words of a text: as the checkpoint's processor splits it, and as the text writes them."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import Qwen3ASRProcessor

from export.rooms import room

words = room("aligner", "words")
written = room("aligner", "written").written
# Latin, accents, digits, ideographs of several blocks, Hangul, Arabic, Thai, punctuation of all kinds, blanks.
SOME = "ab Z'é1二三,。.!? \n\t-ñ한あ㐀𠀀٣ไทย“”()<>|  "
TEXTS = st.text(st.one_of(st.sampled_from(SOME), st.characters()), max_size=40)


@given(TEXTS)
def test_words_are_split_as_the_processor_does(text):
    assert words.split_words(text, "English") == Qwen3ASRProcessor.split_words_for_alignment(None, text, "English")
    assert words.split_words(text, None) == words.split_words(text, "English")


@given(TEXTS)
def test_written_words_are_the_text_again(text):
    names = words.split_words(text, None)
    told = written(text, names)
    assert len(told) == len(names)
    assert not names or "".join(told) == text.strip()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("four two, seven.", ["four", " two,", " seven."]),
        ('He said "stop (now)!" twice', ["He", " said", ' "stop', ' (now)!"', " twice"]),
        ("三八，零。", ["三", "八，", "零。"]),
        ("the U.S.A. don't", ["the", " U.S.A.", " don't"]),
        ("  - well -  ", ["- well -"]),
        ("", []),
    ],
)
def test_punctuation_stays_with_its_word(text, told):
    assert written(text, words.split_words(text, None)) == told


def test_words_that_a_library_writes_otherwise_are_given_as_they_are():
    assert written("ﾊﾛｰ", ["ハロー", "2"]) == ["ハロー", " 2"]


@pytest.mark.parametrize(("language", "package"), [("Japanese", "nagisa"), ("Korean", "soynlp")])
def test_a_library_that_is_missing_is_named(language, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.tokenizer", None)
    for one in (words._japanese, words._korean):
        one.cache_clear()
    with pytest.raises(ValueError, match=f"words of {language} need the package {package}: install the extra"):
        words.split_words("日本", language)


def test_a_language_that_the_aligner_was_not_trained_for_is_refused():
    with pytest.raises(ValueError, match="the aligner does not know Arabic; it knows Cantonese, Chinese"):
        words.split_words("one", "Arabic")
