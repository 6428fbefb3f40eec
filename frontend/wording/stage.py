"""The stage between a recognized text and its answer: every step, in its order.

1. Phonetic correction, because it hears: it needs the words as they were recognized.
2. Words that are left out: what they part (`twenty, um, three`) belongs together for the next step.
3. The written form.
4. A language model's look, at the text that a reader would get; it would undo a mask, and needs no `um`.
5. Masks, last: nothing behind them brings a word back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from frontend.api.languages import CODES, LANGUAGES
from frontend.audio.words import Word
from frontend.wording import written
from frontend.wording.chat import Chat, Endpoint
from frontend.wording.correction import Corrected, Correction
from frontend.wording.edits import Edit, applied, changes, rewritten
from frontend.wording.filters import Filters
from frontend.wording.phonetic import as_edits, replacements
from frontend.wording.roles import roles
from frontend.wording.wanted import WRITTEN, Wanted

logger = logging.getLogger(__name__)

# Longer texts are worked on in a thread: live speech would wait for them.
MOST_INLINE = 600
# Whose lists of words hold for a language that has none.
LISTS_OF = {"yue": "zh"}
# Of one text, in debug.
MOST_TOLD = 50
STEPS = ("phonetic", "dropped", "written", "corrected", "masked")


@dataclass(frozen=True)
class Worded:
    """A recognized text on its way. steps: each text and its edits, in order, by which its words follow it; counts: of
    edits by step; told: what sounded like a hotword; error: why it is not corrected; milliseconds: without the chat
    endpoint's."""

    recognized: str
    text: str
    language: str | None = None
    steps: tuple[tuple[str, tuple[Edit, ...]], ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    told: tuple[dict[str, Any], ...] = ()
    error: str = ""
    milliseconds: float = 0.0

    @property
    def is_other(self) -> bool:
        return self.text != self.recognized

    def words(self, words: Sequence[Word]) -> tuple[Word, ...]:
        """The words of what was recognized, as they are now. Raises WordsLost."""
        for text, edits in self.steps:
            words = rewritten(text, words, edits)
        return tuple(words)

    def edited(self, step: str, edits: Sequence[Edit]) -> Worded:
        if not edits:
            return self
        return replace(
            self,
            text=applied(self.text, edits),
            steps=(*self.steps, (self.text, tuple(edits))),
            counts={**self.counts, step: len(edits)},
        )


class Wording:
    """All that the server can do to a text. `close` it at the end."""

    def __init__(
        self,
        endpoint: Endpoint | None = None,
        *,
        filters_dir: Path | None = None,
        roles_dir: Path | None = None,
        observe: Callable[[Worded], None] = lambda _: None,
        observe_answer: Callable[[str], None] = lambda _: None,
    ) -> None:
        """endpoint: of a language model; None: nothing is corrected. observe: told of each text; observe_answer: how
        each question to the model ended. Raises FilesWrong."""
        self.filters = Filters(filters_dir)
        self.roles = roles(roles_dir)
        self.languages = list(written.LANGUAGES)
        self._chat = Chat(endpoint) if endpoint is not None else None
        self._correction = Correction(self._chat, observe_answer) if self._chat is not None else None
        self._observe = observe

    @property
    def has_endpoint(self) -> bool:
        return self._correction is not None

    async def close(self) -> None:
        if self._chat is not None:
            await self._chat.close()

    async def prepare(self, wanted: Wanted) -> None:
        """Load what the steps need, which takes a moment the first time; the loop goes on meanwhile."""
        if wanted.text_format == WRITTEN or wanted.phonetic or wanted.role is not None:
            await asyncio.to_thread(_load, wanted)

    async def worded(self, text: str, language: str | None, wanted: Wanted) -> Worded:
        """All steps. language: that was heard, by its name."""
        worded = await self.formed(text, language, wanted)
        if wanted.corrects:
            worded, _ = await self.corrected(worded, wanted)
        worded = self.masked(worded, wanted)
        self._observe(worded)
        return worded

    async def final(self, text: str, language: str | None, wanted: Wanted) -> tuple[Worded, Worded]:
        """Of a live utterance, whose text does not wait for a language model: the text to tell now, and the one to have
        corrected, which is not masked yet."""
        formed = await self.formed(text, language, wanted)
        worded = self.masked(formed, wanted)
        self._observe(worded)
        return worded, formed

    async def formed(self, text: str, language: str | None, wanted: Wanted) -> Worded:
        """The steps before a language model's."""
        if len(text) > MOST_INLINE:
            return await asyncio.to_thread(self._formed, text, language, wanted)
        return self._formed(text, language, wanted)

    async def corrected(self, worded: Worded, wanted: Wanted) -> tuple[Worded, Corrected]:
        """As the role wants it; as it was, and `error`, where that fails."""
        assert self._correction is not None
        assert wanted.role is not None
        answer = await self._correction.rewritten(worded.text, wanted.role)
        if answer.error:
            return replace(worded, error=answer.error), answer
        return worded.edited("corrected", changes(worded.text, answer.text)), answer

    def masked(self, worded: Worded, wanted: Wanted) -> Worded:
        if not wanted.filters:
            return worded
        edits = self.filters.masked(worded.text, wanted.filters, _code(worded.language), wanted.mask)
        return worded.edited("masked", edits)

    async def about(self, text: str, wanted: Wanted) -> dict[str, Any]:
        """What a role tells about a whole text, as the answer has it; {} where none was asked."""
        if wanted.role is None or wanted.role.rewrites or self._correction is None:
            return {}
        answer = await self._correction.told(text, wanted.role)
        error = {"correction_error": answer.error} if answer.error else {}
        return {"about": {"role": wanted.role.name, "text": answer.text}, **error}

    def _formed(self, text: str, language: str | None, wanted: Wanted) -> Worded:
        started = time.perf_counter()
        worded = Worded(text, text, language)
        for is_wanted, step in (
            (wanted.phonetic and bool(wanted.hotwords), self._with_hotwords),
            (bool(wanted.filters), self._without_fillers),
            (wanted.text_format == WRITTEN, self._in_written_form),
        ):
            if not is_wanted:
                continue
            try:
                worded = step(worded, wanted)
            except Exception:
                # A text that is known is told, as it was before the step that fails.
                logger.exception("a step of the wording failed")
        return replace(worded, milliseconds=1000 * (time.perf_counter() - started))

    def _with_hotwords(self, worded: Worded, wanted: Wanted) -> Worded:
        heard = replacements(worded.text, wanted.hotwords, worded.language)
        told = [{"heard": one.heard, "hotword": one.phrase, "likeness": round(one.likeness, 3)} for one in heard]
        return replace(worded.edited("phonetic", as_edits(heard)), told=tuple(told[:MOST_TOLD]))

    def _without_fillers(self, worded: Worded, wanted: Wanted) -> Worded:
        return worded.edited("dropped", self.filters.dropped(worded.text, wanted.filters, _code(worded.language)))

    def _in_written_form(self, worded: Worded, _: Wanted) -> Worded:
        return worded.edited("written", written.written_form(worded.text, worded.language))


def spoken(heard: str | None, asked: str | None) -> str | None:
    """The language of a text by its name: the one that was heard, or else the one that was asked for."""
    if heard and heard in CODES:
        return heard
    named = (asked or "").strip().lower()
    return LANGUAGES.get(named) or (named.capitalize() if named.capitalize() in CODES else None)


def _code(language: str | None) -> str:
    code = CODES.get(language or "", "")
    return LISTS_OF.get(code, code)


def _load(wanted: Wanted) -> None:
    if wanted.text_format == WRITTEN:
        from frontend.wording.grammar import load

        load()
    if wanted.phonetic:
        replacements("once 一次", wanted.hotwords)
    if wanted.role is not None:
        changes("once", "twice")
        import httpx  # noqa: F401 (the first question would import it, and everybody would wait)
