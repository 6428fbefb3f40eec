"""Timed segments as subtitles: SubRip and WebVTT."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Token:
    """A token of text; its bytes may be a part of a character."""

    id: int
    data: bytes
    logprob: float


@dataclass(frozen=True)
class Timed:
    """Text from `start` to `end`, in seconds, and the tokens it was decoded from."""

    start: float
    end: float
    text: str
    tokens: tuple[Token, ...] = ()


def srt(segments: Iterable[Timed]) -> str:
    lines = [
        f"{number}\n{_clock(one.start, ',')} --> {_clock(one.end, ',')}\n{one.text}\n"
        for number, one in enumerate(segments, 1)
    ]
    return "\n".join(lines)


def vtt(segments: Iterable[Timed]) -> str:
    lines = [f"{_clock(one.start, '.')} --> {_clock(one.end, '.')}\n{_escaped(one.text)}\n" for one in segments]
    return "\n".join(["WEBVTT\n", *lines])


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
