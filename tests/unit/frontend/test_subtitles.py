"""Subtitles laid out at words: where cues and lines are cut, how long they are shown, what is lit."""

import io
import itertools
import re

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.audio.subtitles import SubtitleLayout, cues, reading_s, srt, vtt
from frontend.audio.timed import Timed
from frontend.audio.words import Word


def spoken(text, start=0.0, each=0.5, gap=0.1):
    """A segment whose words, split at blanks, follow each other."""
    words, at = [], start
    for number, word in enumerate(text.split(" ")):
        words.append(Word(word, round(at, 3), round(at + each, 3), 0.9, " " if number else ""))
        at += each + gap
    return Timed(start, at, text, words=tuple(words))


def characters(text, start=0.0, each=0.2):
    words = tuple(Word(one, start + each * n, start + each * (n + 1), 0.9) for n, one in enumerate(text))
    return Timed(start, start + each * len(text), text, words=words)


FOX = spoken("The quick brown fox jumps over the lazy dog.")


def test_without_a_layout_a_cue_is_a_segment():
    plain = [Timed(0.5, 2.0, "one <two>"), Timed(3, 4, "three & four")]
    assert (
        srt(plain) == "1\n00:00:00,500 --> 00:00:02,000\none <two>\n\n2\n00:00:03,000 --> 00:00:04,000\nthree & four\n"
    )
    assert vtt(plain).startswith("WEBVTT\n\n00:00:00.500 --> 00:00:02.000\none &lt;two&gt;\n")
    assert "three &amp; four" in vtt(plain)


@pytest.mark.parametrize(
    ("layout", "texts"),
    [
        (SubtitleLayout(max_words_per_line=3), ["The quick brown", "fox jumps over", "the lazy dog."]),
        (SubtitleLayout(max_words_per_line=4, max_line_count=2), ["The quick brown fox\njumps over the lazy", "dog."]),
        (SubtitleLayout(max_line_width=16), ["The quick brown\nfox jumps over\nthe lazy dog."]),
        (SubtitleLayout(max_line_width=16, max_line_count=1), ["The quick brown", "fox jumps over", "the lazy dog."]),
        (SubtitleLayout(max_line_width=16, max_line_count=2), ["The quick brown\nfox jumps over", "the lazy dog."]),
        (SubtitleLayout(max_line_width=16, max_words_per_line=2, max_line_count=9), [
            "The quick\nbrown fox\njumps over\nthe lazy\ndog."
        ]),
        (SubtitleLayout(max_line_width=1, max_line_count=1), [*FOX.text.split(" ")]),
    ],
)  # fmt: skip
def test_cues_and_lines_are_cut_at_words(layout, texts):
    assert [cue.plain for cue in cues([FOX], layout)] == texts


def test_a_long_silence_begins_a_cue():
    segment = Timed(0, 9, "one two", words=(Word("one", 0, 0.5, 1), Word("two", 4.0, 4.5, 1, " ")))
    assert [cue.plain for cue in cues([segment], SubtitleLayout(max_line_width=80))] == ["one", "two"]


def test_cues_are_shown_long_enough_and_never_over_the_next():
    fast = spoken("one two three four five six", each=0.1, gap=0.0)
    shown = cues([fast], SubtitleLayout(max_words_per_line=2), seconds=30)
    for cue, after in itertools.pairwise(shown):
        assert cue.end <= after.start
    assert shown[-1].end - shown[-1].start == pytest.approx(max(1.0, reading_s("five six")))
    alone = cues([spoken("extraordinarily", each=0.2)], SubtitleLayout(max_words_per_line=2), seconds=0.5)
    assert alone[0].end == 0.5


def test_ideographs_are_read_more_slowly():
    assert reading_s("三八零二六三八零二") == pytest.approx(1.0)
    assert reading_s("a" * 17) == pytest.approx(1.0)
    assert [cue.plain for cue in cues([characters("三八零二六")], SubtitleLayout(max_line_width=2))] == [
        "三八\n零二\n六"
    ]


def test_a_segment_whose_words_are_not_known_is_one_cue():
    unknown = Timed(1, 2, "no times here", words_error="the aligner is away")
    for layout in (SubtitleLayout(max_words_per_line=1), SubtitleLayout(highlight_words=True)):
        assert "00:00:01,000 --> 00:00:02,000\nno times here" in srt([unknown], layout)
    assert "no times here" in vtt([unknown], SubtitleLayout(karaoke=True))


def test_a_word_is_underlined_while_it_is_said():
    text = srt([spoken("one <two", gap=0.2)], SubtitleLayout(highlight_words=True), seconds=5)
    assert text.split("\n\n") == [
        "1\n00:00:00,000 --> 00:00:00,500\n<u>one</u> <two",
        "2\n00:00:00,500 --> 00:00:00,700\none <two",
        "3\n00:00:00,700 --> 00:00:01,200\none <u><two</u>\n",
    ]
    assert "one <u>&lt;two</u>" in vtt([spoken("one <two")], SubtitleLayout(highlight_words=True))


def test_karaoke_tells_the_time_of_each_word_inside_of_its_cue():
    text = vtt([spoken("one two & three")], SubtitleLayout(karaoke=True, max_words_per_line=2), seconds=5)
    assert "one <00:00:00.600>two\n" in text
    assert "&amp; <00:00:01.800>three\n" in text


@pytest.mark.parametrize(
    ("layout", "form", "field"),
    [
        (SubtitleLayout(max_line_width=40), "json", "max_line_width"),
        (SubtitleLayout(highlight_words=True), "verbose_json", "highlight_words"),
        (SubtitleLayout(karaoke=True), "srt", "karaoke"),
        (SubtitleLayout(karaoke=True, highlight_words=True), "vtt", "karaoke"),
        (SubtitleLayout(max_line_count=2), "vtt", "max_line_count"),
        (SubtitleLayout(), "json", None),
        (SubtitleLayout(max_line_width=40, max_line_count=2), "srt", None),
    ],
)
def test_what_cannot_be_laid_out_is_named(layout, form, field):
    complaint = layout.complaint(form)
    assert (complaint and complaint[0]) == field


@pytest.mark.parametrize("layout", [SubtitleLayout(), SubtitleLayout(max_words_per_line=9)])
def test_a_line_break_of_the_text_ends_no_cue(layout):
    words = (Word("one\n\n-", 0, 1, 1), Word("two", 1, 2, 1, "\n\n"))
    segment = Timed(0, 2, "one\n\n-\n\ntwo", words=words)
    assert srt([segment], layout, 2) == "1\n00:00:00,000 --> 00:00:02,000\none - two\n"
    assert vtt([segment], layout, 2) == "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\none - two\n"


WORD = st.text(st.sampled_from("abc三零'.,&<>"), min_size=1, max_size=8)


@given(
    st.lists(WORD, min_size=1, max_size=30),
    st.integers(1, 20) | st.none(),
    st.integers(1, 3) | st.none(),
    st.integers(1, 5) | st.none(),
)
def test_no_word_is_lost_or_broken_and_lines_keep_their_bounds(texts, width, lines, per_line):
    if lines and not (width or per_line):
        lines = None
    layout = SubtitleLayout(width, lines, per_line)
    segment = spoken(" ".join(texts))
    shown = cues([segment], layout, seconds=100)
    assert " ".join(cue.plain.replace("\n", " ") for cue in shown) == segment.text
    for cue in shown if layout.needs_words else ():
        assert lines is None or len(cue.lines) <= lines
        for line in cue.plain.split("\n"):
            assert per_line is None or len(line.split(" ")) <= per_line
            assert width is None or len(line) <= width or " " not in line
    assert all(cue.start <= cue.end for cue in shown)
    assert all(cue.end <= after.start for cue, after in itertools.pairwise(shown))


@pytest.mark.parametrize("form", ["srt", "webvtt"])
@pytest.mark.parametrize(
    "layout",
    [
        SubtitleLayout(),
        SubtitleLayout(max_line_width=16, max_line_count=2),
        SubtitleLayout(highlight_words=True, max_words_per_line=3),
        SubtitleLayout(karaoke=True),
    ],
)
def test_ffmpeg_reads_them(form, layout):
    if form == "srt" and layout.karaoke:
        return
    segments = [FOX, characters("三八零二六", start=7.0), spoken("a < b & c", start=10.0)]
    text = (srt if form == "srt" else vtt)(segments, layout, 20)
    with av.open(io.BytesIO(text.encode()), format=form) as opened:
        stream = opened.streams.subtitles[0]
        packets = [packet for packet in opened.demux(stream) if packet.size]
        assert len(packets) == text.count(" --> ")
        times = [float(packet.pts * packet.time_base) for packet in packets]
        assert times == sorted(times)
        assert times[0] == pytest.approx(0, abs=0.01)
        plain = re.sub(r"<[^<>]*>", "", " ".join(bytes(packet).decode() for packet in packets))
        assert "三" in plain
