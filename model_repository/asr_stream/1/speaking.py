"""What is said of one utterance: partials as it grows, and its final."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from . import events
from .aligning import Aligning
from .beside import Said
from .parameters import Parameters
from .retrying import RETRY_FIRST_S, retried
from .rooms import Heard, RoomFailed
from .settings import Settings
from .stable_text import StableText
from .utterance import Options, Utterance
from .voices import Asked, Voices

# Priorities of requests for words and speakers: those that a final waits for, and those that follow it.
WAITED_FOR, FOLLOWING = 1, 2

# What a final says of what follows it.
FOLLOW = {"word_timestamps": "words_follow", "speakers": "speaker_follows"}

logger = logging.getLogger(__name__)


class Speaking:
    """An utterance, its newest hypothesis, and what of its text is stable."""

    def __init__(
        self,
        utterance: Utterance,
        say: Callable[[dict[str, Any]], None],
        limits: Parameters,
        aligning: Aligning,
        voices: Voices,
    ) -> None:
        self.utterance = utterance
        self._aligning = aligning
        self._voices = voices
        # Who speaks in the final that is known ahead, likewise.
        self._speaker: asyncio.Task[Asked] | None = None
        # The words of the final that is known ahead, where it is to have them.
        self._words: asyncio.Task[events.Event] | None = None
        self._say = say
        self._limits = limits
        self._stable = StableText()
        # Hypotheses and the samples that they reach to: the newest one, and the final if nothing more is said.
        self._latest: tuple[Heard, int] | None = None
        self._final: tuple[Heard, int] | None = None

    @property
    def start(self) -> int:
        """The utterance's first sample."""
        return self.utterance.start

    async def step(self, end: int, settings: Settings, due: int) -> bool:
        """Tell the hypothesis up to the sample `end`; false where it could not be had. due: told with it."""
        try:
            heard = await self.utterance.hypothesis(end, _options(settings), final=False)
        except RoomFailed as error:
            # The next step sends everything again; only a final has to succeed.
            logger.warning("a step of utterance %s failed: %s", self.utterance.name, error)
            await asyncio.sleep(RETRY_FIRST_S)
            return False
        self._tell_partial(heard, end, settings, due)
        return True

    def has_final(self, end: int) -> bool:
        """Whether the final up to this sample is known."""
        return self._final is not None and self._final[1] == end

    async def finish_early(self, end: int, settings: Settings, due: int) -> bool:
        """Find the final up to the sample `end` before it is known that there is no more; false where it could not be
        had. due: told with the partial that it may be."""
        if self._of_one_size(self._latest, end):
            self._final = self._latest
            self._ask_ahead(end, settings)
            return True
        try:
            heard = await self.utterance.hypothesis(end, _options(settings), final=True, ahead=True)
        except RoomFailed as error:
            logger.warning("an early final of utterance %s failed: %s", self.utterance.name, error)
            await asyncio.sleep(RETRY_FIRST_S)
            return False
        self._final = heard, end
        self._ask_ahead(end, settings)
        if not self._limits.two_sizes and (self._latest is None or self._latest[1] < end):
            self._tell_partial(heard, end, settings, due)
        return True

    def forget_hypotheses(self) -> None:
        """What was heard under other settings says nothing about the same samples under these."""
        self._latest = self._final = None
        self._drop_asked()

    def _of_one_size(self, heard: tuple[Heard, int] | None, end: int) -> bool:
        """Whether a partial up to this sample is its final as well."""
        return heard is not None and heard[1] == end and not self._limits.two_sizes

    def _tell_partial(self, heard: Heard, end: int, settings: Settings, due: int) -> None:
        self._latest = heard, end
        stable, unstable = self._stable.update(heard.text, settings.agreement)
        checkpoint = "fast" if self._limits.two_sizes else "accurate"
        said = events.partial(self.utterance, end, heard, stable, unstable, checkpoint, due)
        self._say({**said, **self._debug(heard, settings)})

    async def finish(self, end: int, reason: str, settings: Settings, resume: int | None) -> None:
        """Tell the end of the speech and its final text, or that it cannot be had. resume: told with it."""
        self._say({"type": "speech_stopped", "reason": reason, **events.place(self.utterance, end)})
        try:
            known = self._latest if self._of_one_size(self._latest, end) else self._final
            if known is not None and known[1] == end:
                heard = known[0]
                self.utterance.forget()
            else:
                ask = partial(self.utterance.hypothesis, end, _options(settings), final=True)
                heard = await retried(ask, self._limits.retry_s, self.utterance.name)
        except RoomFailed as error:
            self._say(events.lost(self.utterance, end, error))
            return
        said = events.final(self.utterance, end, heard, self._stable.stable)
        if resume is not None:
            said["resume_sample"] = resume
        is_ahead = known is not None and known is self._final
        # Both at a time: the final waits for the longer one.
        beside: list[Awaitable[events.Event]] = []
        if settings.word_timestamps == "final":
            words = self._words if is_ahead else None
            beside.append(words if words is not None else self._find_words(heard, end))
        if settings.speakers == "final":
            beside.append(self._voices.now(self._said(heard, end), WAITED_FOR, self._speaker if is_ahead else None))
        for told in await asyncio.gather(*beside):
            said |= told
        following = [name for name in ("word_timestamps", "speakers") if getattr(settings, name) == "event"]
        following = following if heard.text else []
        said |= {FOLLOW[name]: True for name in following}
        self._say({**said, **self._debug(heard, settings)})
        if "word_timestamps" in following:
            self._aligning.follow(self._said(heard, end), FOLLOWING)
        if "speakers" in following:
            self._voices.follow(self._said(heard, end), FOLLOWING)
        elif settings.speakers == "final":
            self._voices.correct()

    def _said(self, heard: Heard, end: int) -> Said:
        judged = self._voices.judged.of(self.start, end)
        return Said(self.utterance.number, self.start, self.utterance.pcm(end), heard, judged)

    async def _find_words(self, heard: Heard, end: int) -> events.Event:
        """At the priority of live work: the final waits."""
        return await self._aligning.found(self._said(heard, end), WAITED_FOR)

    async def _find_speaker(self, heard: Heard, end: int) -> Asked:
        return await self._voices.ask(self._said(heard, end), WAITED_FOR)

    def _ask_ahead(self, end: int, settings: Settings) -> None:
        """Ask for the words and the speaker that the final is to have in it, for it waits for them."""
        self._drop_asked()
        if self._final is None:
            return
        if settings.word_timestamps == "final":
            self._words = asyncio.create_task(self._find_words(self._final[0], end))
        if settings.speakers == "final":
            self._speaker = asyncio.create_task(self._find_speaker(self._final[0], end))

    def _drop_asked(self) -> None:
        for asked in (self._words, self._speaker):
            if asked is not None:
                asked.cancel()
        self._words = self._speaker = None

    def forget(self) -> None:
        """Let the decoder free what it keeps."""
        self._drop_asked()
        self.utterance.forget()

    def _debug(self, heard: Heard, settings: Settings) -> dict[str, Any]:
        return events.debug(self.utterance, heard) if settings.debug else {}


def _options(settings: Settings) -> Options:
    return Options(settings.language, settings.context, settings.hotwords)
