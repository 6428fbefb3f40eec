"""What becomes of words and their times when their text is edited."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.audio.words import Word
from frontend.wording.edits import Edit, WordsLost, applied, changes, rewritten


def words_of(text):
    """Each word a second long, the surer the later."""
    words, at = [], 0
    for number, word in enumerate(text.split()):
        start = text.index(word, at)
        words.append(Word(word, number, number + 0.9, 0.5 + number / 100, text[at:start]))
        at = start + len(word)
    return words


def test_words_that_became_one_begin_with_the_first_and_are_as_sure_as_the_least_sure():
    text = "I paid twenty three dollars, yes"
    words = words_of(text)
    words[3] = Word("three", 3, 3.9, 0.2, " ")
    made = rewritten(text, words, [Edit(7, 27, "$23")])
    assert [word.word for word in made] == ["I", "paid", "$23,", "yes"]
    assert (made[2].start, made[2].end, made[2].confidence) == (2, 4.9, 0.2)
    assert made[3] == words[5]


def test_words_that_became_as_many_keep_their_times():
    made = rewritten("new yolk city", words_of("new yolk city"), [Edit(0, 8, "New York")])
    assert [(word.word, word.start) for word in made] == [("New", 0), ("York", 1), ("city", 2)]


def test_one_word_that_became_several_is_shared_out_by_their_lengths():
    made = rewritten("the openai lab", words_of("the openai lab"), [Edit(4, 10, "Open AI")])
    assert [word.word for word in made] == ["the", "Open", "AI", "lab"]
    assert made[1].start == 1
    assert made[1].end == made[2].start == pytest.approx(1 + 0.9 * 4 / 6)
    assert made[2].end == 1.9


def test_a_word_that_is_left_out_leaves_the_others_their_times():
    made = rewritten("I, um, think", words_of("I, um, think"), [Edit(1, 7, " ")])
    assert [(word.word, word.start, word.end) for word in made] == [("I", 0, 0.9), ("think", 2, 2.9)]


def test_characters_of_chinese_are_words():
    text = "我有二十三只"
    words = [Word(one, place, place + 1, 0.9) for place, one in enumerate(text)]
    made = rewritten(text, words, [Edit(2, 5, "23")])
    assert [(word.word, word.start, word.end) for word in made] == [
        ("我", 0, 1),
        ("有", 1, 2),
        ("23", 2, 5),
        ("只", 5, 6),
    ]


def test_words_of_another_text_are_refused():
    with pytest.raises(WordsLost):
        rewritten("one two three", words_of("one three"), [])


def test_changes_are_whole_words():
    assert changes("hello world", "hello, word") == [Edit(5, 5, ","), Edit(6, 11, "word")]
    assert changes("我想去", "我不去") == [Edit(1, 2, "不")]
    assert changes("same", "same") == []


SENTENCES = st.lists(st.sampled_from(["one", "two,", "Three.", "四", "五十", "it's", "-", "x"]), max_size=8).map(
    " ".join
)


@given(SENTENCES, SENTENCES)
def test_the_words_are_the_text_whatever_was_edited(before, after):
    edits = changes(before, after)
    assert applied(before, edits) == after
    made = rewritten(before, words_of(before), edits)
    told = "".join(word.text for word in made)
    # What nobody says, a blank or a mark that stands alone, may be of no word.
    assert [one for one in told if one.isalnum()] == [one for one in after if one.isalnum()] or not words_of(before)
    times = [time for word in made for time in (word.start, word.end)]
    assert times == sorted(times)
