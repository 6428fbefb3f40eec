"""What a word is when errors are counted."""

import pytest

from export.speech import Spoken
from perf.loads.accuracy import Answer, groups, report, score
from perf.loads.normalizers import basic, choice, counted_by_character, digits, is_digits, normalizer


def spoken(tmp_path, *texts, language=None):
    return [Spoken(tmp_path / f"{number}.wav", text, language) for number, text in enumerate(texts)]


def test_normalization():
    assert basic("Hello,  World! 3—4") == "hello world 3 4"
    assert normalizer("whisper", "English")("It's Mr. Smith's colour") == normalizer("whisper", "en")(
        "it is mister smith is color"
    )
    assert normalizer("whisper", "Chinese")("三，八。").split() == ["三", "八"]


@pytest.mark.parametrize("written", ["four two seven nine", "Four, two; seven, nine!", "4279", "42 79", "四二七九"])
def test_every_digit_is_a_word_however_it_is_written(written):
    assert digits(written) == "4 2 7 9"
    assert is_digits(written)


@pytest.mark.parametrize("text", ["forty two", "call one two", "two for one", "", "...", "三百"])
def test_other_texts_are_no_strings_of_digits(text):
    assert not is_digits(text)


def test_the_default_counts_digits_apart_where_there_is_nothing_else():
    assert choice("auto", ["four two seven nine", "4 2", "", None]) == "digits"
    assert choice("auto", ["four two seven nine", "he bought four"]) == "whisper"
    assert choice("auto", ["", None]) == "whisper"
    assert choice("whisper", ["four two"]) == "whisper"


def test_one_wrong_digit_of_four_is_a_quarter(tmp_path):
    speech = spoken(tmp_path, "four two seven nine")
    answers = {"offline": [Answer("four two seven five", "English")]}
    rows, notes = report(speech, answers, "auto")
    assert rows[0]["error_rate"] == "25.00 %"
    assert rows[0]["of"] == 4
    assert "every text is a string of digits" in notes
    # The evaluation that published rates are made with takes the clip for one word.
    rows, notes = report(speech, answers, "whisper")
    assert (rows[0]["error_rate"], rows[0]["of"]) == ("100.00 %", 1)
    assert "string of digits" not in notes


def test_texts_with_other_words_are_compared_as_published_rates_are(tmp_path):
    speech = spoken(tmp_path, "it's mister Smith", "twenty one")
    answers = {"offline": [Answer("it is Mr. Smith", "English"), Answer("21", "English")]}
    rows, notes = report(speech, answers, "auto")
    assert rows[0]["error_rate"] == "0.00 %"
    assert "digits" not in notes


def test_unnamed_languages_without_spaces_are_counted_by_character(tmp_path):
    assert counted_by_character(None, "三八零二六")
    assert counted_by_character(None, "打开 wifi 开关吧")
    assert not counted_by_character(None, "four two")
    assert not counted_by_character("English", "三八")
    speech = spoken(tmp_path, "four two", "三八零二", "", None)
    assert groups(speech) == {(None, False): [0, 2], (None, True): [1]}
    answers = {"offline": [Answer(text, None) for text in ("four two", "三八零七", "", "noise")]}
    rows, _ = report(speech, answers, "auto")
    assert [(row["unit"], row["error_rate"], row["of"]) for row in rows] == [
        ("WER", "0.00 %", 2),
        ("CER", "25.00 %", 4),
    ]


def test_silence_alone_is_counted(tmp_path):
    rows, _ = report(spoken(tmp_path, ""), {"offline": [Answer("you", None)]}, "auto")
    assert (rows[0]["inserted"], rows[0]["of"]) == (1, 0)


def test_without_any_text_there_is_nothing_to_count(tmp_path):
    with pytest.raises(ValueError, match="no clip has a text"):
        groups(spoken(tmp_path, None))


def test_chinese_digits_and_numerals_are_the_same(tmp_path):
    speech = spoken(tmp_path, "三八零二六", language="Chinese")
    assert score(speech, ["38026"], "digits", by_character=True).rate == 0
    assert score(speech, ["38026"], "whisper", by_character=True).rate == 1
