"""Numbers, dates, times and amounts as they are written; everything else as it was recognized."""

import pytest

from frontend.wording.edits import applied
from frontend.wording.written import written_form


def written(text, language="English"):
    return applied(text, written_form(text, language))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("four two seven nine zero one five", "4279015"),
        ("On March third, twenty twenty-four, at half past nine.", "On March 3, 2024, at 9:30."),
        ("It costs five dollars and thirty cents, or more.", "It costs $5.30, or more."),
        ("twenty-five percent of two point three billion", "25% of 2.3 billion"),
        ("minus twelve degrees Celsius at three forty five p.m.", "-12 °C at 3:45 p.m."),
        ("one eight hundred five five five one two one two", "18005551212"),
        ("sixty miles per hour and five hundred megabytes", "60 mph and 500 MB"),
        ("the twenty first century in the nineteen eighties", "the 21st century in the 1980s"),
        ("one hundred twenty three thousand four hundred fifty six", "123,456"),
        ("my mail is jo dot smith at example dot com", "my mail is jo.smith@example.com"),
    ],
)
def test_english(said, expected):
    assert written(said) == expected


@pytest.mark.parametrize(
    "said",
    [
        "one of them, no one, first of all",
        "one second, please",
        "he may come second",
        "I have two dogs",
        "fifty fifty",
        "look at the point",
        "oh, and to be or not to be",
        "3 of 5 were written so already",
    ],
)
def test_english_words_that_are_no_numbers_stay(said):
    assert written(said) == said


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("三八零二六", "38026"),
        ("今天下午三点四十五分，带两百块钱。", "今天下午3:45，带200块钱。"),
        ("二零二四年三月五日", "2024年3月5日"),
        ("百分之五点五，三分之二", "5.5%，2/3"),
        ("五点六公斤，三百公里每小时", "5.6kg，300km/h"),
        ("一萬兩千個", "12000個"),
        ("电话是幺三八零零一三八零零零", "电话是13800138000"),
    ],
)
def test_chinese(said, expected):
    assert written(said, "Chinese") == written(said, "Cantonese") == expected


@pytest.mark.parametrize(
    "said", ["一心一意", "万一他十分好", "三四个人", "四川话", "星期三", "第一", "十几个", "我有两只狗"]
)
def test_chinese_words_that_are_no_numbers_stay(said):
    assert written(said, "Chinese") == said


@pytest.mark.parametrize(
    ("said", "expected"),
    [("二千二十四年三月五日", "2024年3月5日"), ("千二百三十四円", "1234円"), ("一人で百二十三", "一人で123")],
)
def test_japanese(said, expected):
    assert written(said, "Japanese") == expected


@pytest.mark.parametrize("language", [None, "", "German", "Klingon"])
def test_another_language_stays_as_it_was_recognized(language):
    assert written_form("twenty three 二十三", language) == []


@pytest.mark.parametrize("said", ["负亿度", "三月九十九日", "百千万亿", "零点", "五点九十九分之三", "万点五公斤"])
def test_characters_of_numbers_that_are_none_together_do_no_harm(said):
    for language in ("Chinese", "Japanese"):
        assert written(f"那{said}吧", language).startswith("那")
    assert written("负亿度", "Chinese") == "负亿度"
    assert written("三月九十九日", "Chinese") == "三月九十九日"


def test_a_text_of_numbers_alone_is_bounded_work():
    """A million words that are one number end, and are no number that nobody could have said."""
    assert written("five " * 20_000).replace(" ", "").isdigit()
    assert written("五" * 20_000, "Chinese") == "5" * 20_000
    assert len(written("hundred thousand " * 5_000)) > 0
