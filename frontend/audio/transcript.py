"""A recording's text as it comes, piece by piece, and all of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from frontend.audio.timed import Timed, Token


@dataclass(frozen=True)
class Piece:
    """What a recording's text goes on with: a delta, and with a segment's last one, the segment and its result."""

    text: str
    tokens: tuple[Token, ...] = ()
    segment: Timed | None = None
    result: dict[str, Any] | None = None


@dataclass
class Transcript:
    """All of a recording, as its pieces come. speakers: at the end, who spoke in each segment as they came; about:
    what a language model tells of it, as answers have it; correction_error: the first one of a segment."""

    text: str = ""
    segments: list[Timed] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    speakers: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    correction_error: str = ""

    def add(self, piece: Piece) -> None:
        self.text += piece.text
        if piece.text:
            self.pieces.append(piece)
        if piece.segment is not None and piece.result is not None:
            self.correction_error = self.correction_error or piece.segment.correction_error
            self.results.append(piece.result)
            if piece.segment.text:
                self.segments += piece.segment.parts or [piece.segment]

    @property
    def languages(self) -> list[str]:
        """Languages that were heard, the most frequent first."""
        heard = [str(result["language"]) for result in self.results if result["language"]]
        return sorted(dict.fromkeys(heard), key=lambda name: -heard.count(name))

    def usage(self) -> dict[str, int]:
        """Tokens of all requests that the recording became."""
        names = ("prompt_tokens", "completion_tokens", "total_tokens", "audio_tokens")
        return {name: sum(result["usage"][name] for result in self.results) for name in names}

    def timings_ms(self) -> dict[str, float]:
        """Milliseconds of the decoder's parts, over all segments."""
        names = {name for result in self.results for name in result["timings_ms"]}
        return {name: round(sum(r["timings_ms"].get(name, 0.0) for r in self.results), 3) for name in sorted(names)}
