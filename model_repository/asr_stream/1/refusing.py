"""Settings that the rooms of this server cannot follow."""

from __future__ import annotations

from . import events
from .rooms import RoomFailed, Rooms
from .settings import Settings


async def refusal(settings: Settings, rooms: Rooms) -> str | None:
    """Why they are refused, None where they are not; the decoder is asked about language, context and hotwords."""
    if settings.word_timestamps != "off" and not rooms.can_align:
        return events.NO_WORDS
    if settings.speakers != "off" and not rooms.has_voices:
        return events.NO_SPEAKERS
    if settings.language or settings.context or settings.hotwords:
        try:
            await rooms.check(settings.language, settings.context, settings.hotwords)
        except RoomFailed as error:
            # Where the decoder is away, whether it knows the language shows when it is back.
            return str(error) if error.invalid else None
    return None
