"""What is said of one utterance: partials as it grows, and its final."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from . import events
from .parameters import Parameters
from .retrying import RETRY_FIRST_S, retried
from .rooms import Heard, RoomFailed
from .settings import Settings
from .stable_text import StableText
from .utterance import Options, Utterance

logger = logging.getLogger(__name__)


class Speaking:
    """An utterance, its newest hypothesis, and what of its text is stable."""

    def __init__(self, utterance: Utterance, say: Callable[[dict[str, Any]], None], limits: Parameters) -> None:
        self.utterance = utterance
        self._say = say
        self._limits = limits
        self._stable = StableText()
        # What was heard up to which sample.
        self.latest: tuple[Heard, int] | None = None

    @property
    def start(self) -> int:
        """The utterance's first sample."""
        return self.utterance.start

    async def step(self, end: int, settings: Settings) -> bool:
        """Tell the hypothesis up to the sample `end`; false where it could not be had."""
        try:
            heard = await self.utterance.hypothesis(end, _options(settings), final=False)
        except RoomFailed as error:
            # The next step sends everything again; only a final has to succeed.
            logger.warning("a step of utterance %s failed: %s", self.utterance.name, error)
            await asyncio.sleep(RETRY_FIRST_S)
            return False
        self.latest = heard, end
        stable, unstable = self._stable.update(heard.text, settings.agreement)
        checkpoint = "fast" if self._limits.two_sizes else "accurate"
        said = events.partial(self.utterance, end, heard, stable, unstable, checkpoint)
        self._say({**said, **self._debug(heard, settings)})
        return True

    async def finish(self, end: int, reason: str, settings: Settings, resume: int | None) -> None:
        """Tell the end of the speech and its final text, or that it cannot be had. resume: told with it."""
        self._say({"type": "speech_stopped", "reason": reason, **events.place(self.utterance, end)})
        try:
            if self.latest is not None and self.latest[1] == end and not self._limits.two_sizes:
                heard = self.latest[0]
                await self.forget()
            else:
                ask = partial(self.utterance.hypothesis, end, _options(settings), final=True)
                heard = await retried(ask, self._limits.retry_s, self.utterance.name)
        except RoomFailed as error:
            self._say(events.lost(self.utterance, end, error))
            return
        said = events.final(self.utterance, end, heard, self._stable.stable)
        if resume is not None:
            said["resume_sample"] = resume
        self._say({**said, **self._debug(heard, settings)})

    async def forget(self) -> None:
        """Let the decoder free what it keeps."""
        try:
            await self.utterance.forget()
        except RoomFailed as error:
            # The decoder forgets by itself what is not used.
            logger.warning("utterance %s left something behind: %s", self.utterance.name, error)

    def _debug(self, heard: Heard, settings: Settings) -> dict[str, Any]:
        return events.debug(self.utterance, heard) if settings.debug else {}


def _options(settings: Settings) -> Options:
    return Options(settings.language, settings.context)
