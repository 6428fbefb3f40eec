"""Text with its times: a segment, its tokens and its words."""

from __future__ import annotations

from dataclasses import dataclass

from frontend.audio.words import Word


@dataclass(frozen=True)
class Token:
    """A token of text; its bytes may be a part of a character."""

    id: int
    data: bytes
    logprob: float


@dataclass(frozen=True)
class Timed:
    """Text from `start` to `end`, in seconds, and the tokens it was decoded from. words: where they were asked for;
    words_error: why they are not known. Where speakers were asked for: segment, its number in the recording; turn, its
    number there; speaker, a name or a letter; speaker_error, why that is not known; parts, where there are several.
    correction_error: why a language model did not correct it, where it was to."""

    start: float
    end: float
    text: str
    tokens: tuple[Token, ...] = ()
    words: tuple[Word, ...] = ()
    words_error: str = ""
    segment: int = 0
    turn: int = -1
    speaker: str = ""
    speaker_error: str = ""
    parts: tuple[Timed, ...] = ()
    correction_error: str = ""
