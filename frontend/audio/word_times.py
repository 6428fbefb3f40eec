"""The words of a recording's segments, asked for until they are there, or until that would cost too much."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from frontend.audio.attempts import asked
from frontend.audio.segments import SAMPLE_RATE_HZ, Segment
from frontend.audio.timed import Timed
from frontend.audio.words import Word
from frontend.triton.alignment import aligned
from frontend.triton.client import TritonClient, TritonRefused, TritonUnavailable

NO_TIME = "the words of a segment found no times in time"
# The most that a segment, whose text is known, waits for its words, with all attempts.
PATIENCE_S = 60.0
# The same where another segment waited in vain: a long recording would otherwise run out of its own time, and its text
# would be lost for the sake of words.
LATER_PATIENCE_S = 5.0


class WordTimes:
    """Of one recording."""

    def __init__(
        self,
        connected: Callable[[], Awaitable[TritonClient]],
        *,
        priority: int,
        request_id: str,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """connected: the connection there is; asked again where Triton is lost."""
        self._connected = connected
        self._priority = priority
        self._request_id = request_id
        self._patience_s = self._full_patience_s = min(patience_s, PATIENCE_S)

    async def added(self, timed: Timed, segment: Segment, language: str | None) -> Timed:
        """A segment's text with its words, or with the reason why they are not known: a text that is known is told."""
        try:
            words = await self._found(segment, timed.text, language)
        except (TritonUnavailable, TritonRefused) as error:
            if not (isinstance(error, TritonRefused) and error.invalid):
                self._patience_s = min(self._full_patience_s, LATER_PATIENCE_S)
            return replace(timed, words_error=str(error))
        self._patience_s = self._full_patience_s
        return replace(timed, words=words)

    async def _found(self, segment: Segment, text: str, language: str | None) -> tuple[Word, ...]:
        async def ask(client: TritonClient, timeout_s: float) -> list[Word]:
            return await aligned(
                client,
                segment.pcm,
                text,
                language=language,
                priority=self._priority,
                request_id=self._request_id,
                timeout_s=timeout_s,
            )

        words = await asked(self._connected, self._patience_s, ask, NO_TIME)
        return tuple(_in_recording(word, segment) for word in words)


def _in_recording(word: Word, segment: Segment) -> Word:
    """In seconds of the recording. A short clip is heard with silence behind it, which is not of the segment."""
    first, last = segment.start / SAMPLE_RATE_HZ, segment.end / SAMPLE_RATE_HZ
    return replace(word, start=min(first + word.start, last), end=min(first + word.end, last))
