"""The words of a recording's segment, asked for until they are there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from frontend.audio.attempts import Losses
from frontend.audio.segments import SAMPLE_RATE_HZ, Segment
from frontend.audio.words import Word
from frontend.triton.alignment import aligned
from frontend.triton.client import TritonClient, TritonRefused, TritonUnavailable

NO_TIME = "the words of a segment found no times in time"


async def word_times(
    tries: AsyncIterator[tuple[TritonClient, float]],
    segment: Segment,
    text: str,
    *,
    language: str | None,
    priority: int,
    request_id: str,
) -> tuple[Word, ...]:
    """Words of a segment's text, in seconds of the recording. tries: connections, each with what an attempt may take.
    Raises TritonRefused or TritonUnavailable."""
    losses = Losses()
    offset = segment.start / SAMPLE_RATE_HZ
    async for client, timeout_s in tries:
        try:
            words = await aligned(
                client,
                segment.pcm,
                text,
                language=language,
                priority=priority,
                request_id=request_id,
                timeout_s=timeout_s,
            )
        except (TritonUnavailable, TritonRefused) as error:
            losses.add(error)
        else:
            return tuple(replace(word, start=word.start + offset, end=word.end + offset) for word in words)
    raise losses.given_up(NO_TIME)
