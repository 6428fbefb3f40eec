"""Timed segments as subtitles: SubRip and WebVTT, laid out at words where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from frontend.audio.timed import Timed
from frontend.audio.words import Word

# A silence inside of a segment from which on the next words are a cue of their own.
LONG_PAUSE_S = 3.0
# A reader takes in so many characters a second, of scripts that write sounds and of ideographs; and a cue at least so
# long. (Usual bounds of subtitling guides.)
READ_PER_S, IDEOGRAPHS_PER_S = 17.0, 9.0
LEAST_S = 1.0
# The first of the scripts whose characters are read as words are: radicals, kana, ideographs, Hangul.
IDEOGRAPHS_FROM = "\u2e80"


@dataclass(frozen=True)
class SubtitleLayout:
    """How subtitles are laid out, by the names of whisper's writers. All but the default needs words.

    max_line_width: characters of a line; max_words_per_line; max_line_count: lines of a cue (left out: as many as its
    segment has, and one where only words are counted); highlight_words: a cue for each word, which it underlines;
    karaoke: the time of each word inside of its cue (WebVTT).
    """

    max_line_width: int | None = None
    max_line_count: int | None = None
    max_words_per_line: int | None = None
    highlight_words: bool = False
    karaoke: bool = False

    @property
    def named(self) -> list[str]:
        """The fields that say something."""
        return [name for name, value in vars(self).items() if value]

    @property
    def needs_words(self) -> bool:
        return bool(self.named)

    def complaint(self, form: str) -> tuple[str, str] | None:
        """What cannot be laid out in an answer of this format: the field and why; None where all can."""
        if self.named and form not in ("srt", "vtt"):
            return self.named[0], f"{self.named[0]} goes with the response_format srt or vtt"
        if self.karaoke and form != "vtt":
            return "karaoke", "karaoke goes with the response_format vtt"
        if self.karaoke and self.highlight_words:
            return "karaoke", "karaoke and highlight_words exclude each other"
        if self.max_line_count and not (self.max_line_width or self.max_words_per_line):
            return "max_line_count", "max_line_count needs max_line_width or max_words_per_line"
        return None


@dataclass(frozen=True)
class Cue:
    """What is shown from `start` to `end`, in seconds. lines: of words, or one text where words are not known; speaker:
    who says it, where that was asked for."""

    start: float
    end: float
    lines: tuple[tuple[Word, ...], ...] = ()
    text: str = ""
    speaker: str = ""

    @property
    def words(self) -> list[Word]:
        return [word for line in self.lines for word in line]

    @property
    def plain(self) -> str:
        return "\n".join(map(_line, self.lines)) if self.lines else self.text


def srt(segments: Iterable[Timed], layout: SubtitleLayout | None = None, seconds: float = 0.0) -> str:
    """seconds: of the recording, which the last cue does not outlast; 0: not known."""
    layout = layout or SubtitleLayout()
    shown = [
        (*one, f"{_joined(cue.speaker)}: " if cue.speaker else "")
        for cue in cues(segments, layout, seconds)
        for one in (_lit(cue, str) if layout.highlight_words else [(cue.start, cue.end, cue.plain)])
    ]
    lines = [
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{said}{text}\n"
        for number, (start, end, text, said) in enumerate(shown, 1)
    ]
    return "\n".join(lines)


def vtt(segments: Iterable[Timed], layout: SubtitleLayout | None = None, seconds: float = 0.0) -> str:
    """seconds: as `srt` takes them."""
    layout = layout or SubtitleLayout()
    lines = []
    for cue in cues(segments, layout, seconds):
        shown = [(cue.start, cue.end, _sung(cue) if layout.karaoke else _escaped(cue.plain))]
        if layout.highlight_words:
            shown = _lit(cue, _escaped)
        # WebVTT's voice spans end with their cue.
        voice = f"<v {_escaped(_joined(cue.speaker))}>" if cue.speaker else ""
        lines += [f"{_clock(start, '.')} --> {_clock(end, '.')}\n{voice}{text}\n" for start, end, text in shown]
    return "\n".join(["WEBVTT\n", *lines])


def cues(segments: Iterable[Timed], layout: SubtitleLayout, seconds: float = 0.0) -> list[Cue]:
    """One for each segment, or as the layout wants them: cut at words, never inside of one, and shown long enough to be
    read wherever the next one leaves time."""
    found: list[Cue] = []
    for one in map(_on_one_line, segments):
        if not layout.needs_words or not one.words:
            found.append(Cue(one.start, one.end, text=one.text, speaker=one.speaker))
            continue
        found += [
            Cue(lines[0][0].start, max(lines[-1][-1].end, lines[0][0].start), tuple(lines), speaker=one.speaker)
            for lines in _cut(one.words, layout)
        ]
    if not layout.needs_words:
        return found
    ends = [*(cue.start for cue in found[1:]), seconds or found[-1].end + LEAST_S] if found else []
    return [_readable(cue, latest) for cue, latest in zip(found, ends, strict=True)]


def _on_one_line(timed: Timed) -> Timed:
    """Without line breaks of its own: behind an empty line a cue would end."""
    if len(timed.text.splitlines()) < 2:
        return timed
    words = tuple(replace(w, word=_joined(w.word), before=" " * bool(w.before)) for w in timed.words)
    return replace(timed, text=_joined(timed.text), words=words)


def _joined(text: str) -> str:
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def _readable(cue: Cue, latest: float) -> Cue:
    wanted = cue.start + max(LEAST_S, reading_s(cue.plain))
    return replace(cue, end=max(cue.end, min(wanted, latest))) if latest > cue.start else cue


def reading_s(text: str) -> float:
    """Seconds that a reader takes for a text."""
    ideographs = sum(character >= IDEOGRAPHS_FROM for character in text)
    return ideographs / IDEOGRAPHS_PER_S + (len(text) - ideographs) / READ_PER_S


def _cut(words: Sequence[Word], layout: SubtitleLayout) -> list[list[tuple[Word, ...]]]:
    """A segment's words as cues of lines."""
    by_words_alone = layout.max_words_per_line is not None and layout.max_line_width is None
    most_lines = layout.max_line_count or (1 if by_words_alone else len(words))
    cut: list[list[list[Word]]] = [[[]]]
    for word in words:
        line = cut[-1][-1]
        if line and word.start - line[-1].end >= LONG_PAUSE_S:
            cut.append([[word]])
        elif line and _is_full(line, word, layout):
            if len(cut[-1]) >= most_lines:
                cut.append([[word]])
            else:
                cut[-1].append([word])
        else:
            line.append(word)
    return [[tuple(line) for line in lines] for lines in cut]


def _is_full(line: list[Word], word: Word, layout: SubtitleLayout) -> bool:
    if layout.max_words_per_line is not None and len(line) >= layout.max_words_per_line:
        return True
    return layout.max_line_width is not None and len(_line([*line, word])) > layout.max_line_width


def _line(words: Sequence[Word]) -> str:
    return "".join(word.text for word in words).strip()


def _lit(cue: Cue, escape: Callable[[str], str]) -> list[tuple[float, float, str]]:
    """A cue for each of its words while it is said, underlined; in between none is."""
    if not cue.lines:
        return [(cue.start, cue.end, escape(cue.text))]
    shown: list[tuple[float, float, str]] = []
    at = cue.start
    for number, word in enumerate(cue.words):
        start, end = max(at, word.start), max(at, word.end)
        if start > at:
            shown.append((at, start, _marked(cue, None, escape)))
        if end > start:
            shown.append((start, end, _marked(cue, number, escape)))
        at = end
    if cue.end > at:
        shown.append((at, cue.end, _marked(cue, None, escape)))
    return shown


def _marked(cue: Cue, lit: int | None, escape: Callable[[str], str]) -> str:
    """A cue's lines, the word of this number underlined."""
    number, lines = 0, []
    for line in cue.lines:
        parts = []
        for word in line:
            text = escape(word.word)
            parts.append(word.before + (f"<u>{text}</u>" if number == lit else text))
            number += 1
        lines.append("".join(parts).strip())
    return "\n".join(lines)


def _sung(cue: Cue) -> str:
    """A cue's lines with the time of every word but the first, from which on it is said."""
    if not cue.lines:
        return _escaped(cue.text)
    lines, at = [], cue.start
    for line in cue.lines:
        parts = []
        for word in line:
            # Times inside of a cue rise, and lie within it.
            tag = f"<{_clock(word.start, '.')}>" if at < word.start < cue.end else ""
            at = max(at, word.start)
            parts.append(word.before + tag + _escaped(word.word))
        lines.append("".join(parts).strip())
    return "\n".join(lines)


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
