"""Words that are left out or masked: whole ones, in any script."""

import pytest

from frontend.wording.edits import applied
from frontend.wording.filters import Filters
from frontend.wording.headed import FilesWrong


@pytest.fixture(scope="module")
def filters():
    return Filters()


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        ("Um, so we went.", "en", "So we went."),
        ("I, um, think so, uh.", "en", "I think so."),
        ("Um. Yes, uh-huh.", "en", "Yes, uh-huh."),
        ("Well, you know, it is. You know it well.", "en", "It is. You know it well."),
        ("twenty um, uh three", "en", "twenty three"),
        ("drum umbrella", "en", "drum umbrella"),
        ("嗯，我们那个，想去。", "zh", "我们那个，想去。"),
        ("那个，我想去那个地方", "zh", "我想去那个地方"),
        ("那个那个人很好", "zh", "那个人很好"),
        ("um", "en", ""),
        ("um", "fi", "um"),
    ],
)
def test_fillers_go_with_their_commas(filters, text, code, expected):
    assert applied(text, filters.dropped(text, ["fillers"], code)) == expected


@pytest.mark.parametrize(
    ("text", "code", "mask", "expected"),
    [
        ("What the Fucking hell.", "en", "first", "What the F****** hell."),
        ("What the Fucking hell.", "en", "all", "What the ******* hell."),
        ("Scunthorpe shitake", "en", "all", "Scunthorpe shitake"),
        ("这个混蛋。", "zh", "first", "这个混*。"),
    ],
)
def test_profanity_is_masked_in_whole_words(filters, text, code, mask, expected):
    assert applied(text, filters.masked(text, ["profanity"], code, mask)) == expected


def test_a_list_does_what_its_file_says_alone(filters):
    assert filters.dropped("um shit", ["profanity"], "en") == []
    assert filters.masked("um shit", ["fillers"], "en", "all") == []


def test_a_teams_lists_stand_beside_and_for_the_shipped_ones(tmp_path):
    (tmp_path / "names.txt").write_text("action: mask\n\nJohn Smith\n")
    (tmp_path / "fillers.en.txt").write_text("action: drop\n\nbasically\n")
    filters = Filters(tmp_path)
    assert filters.names == ["fillers", "names", "profanity"]
    text = "um, basically, john smith"
    assert applied(text, filters.dropped(text, ["fillers"], "en")) == "um john smith"
    assert applied(text, filters.masked(text, ["names"], "de", "first")) == "um, basically, j*** s****"


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("Bad.txt", "action: drop\n\na", "it is called"),
        ("bad.txt", "action: dance\n\na", "begins with action"),
        ("bad.txt", "a\nb\n", "its first lines"),
        ("bad.txt", "action: drop\n\n...\n", "is no entry"),
        ("fillers.fi.txt", "action: mask\n\na", "another file"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path, name, text, why):
    (tmp_path / name).write_text(text)
    with pytest.raises(FilesWrong, match=why) as wrong:
        Filters(tmp_path)
    assert name in str(wrong.value)


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(FilesWrong, match="nowhere"):
        Filters(tmp_path / "nowhere")
