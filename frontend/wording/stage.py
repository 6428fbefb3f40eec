"""The stage between a recognized text and its answer: every step, in its order.

1. Phonetic correction, because it hears: it needs the words as they were recognized.
2. Words that are left out: what they part (`twenty, um, three`) belongs together for the next step.
3. The written form.
4. A language model's look, at the text that a reader would get; it would undo a mask, and needs no `um`.
5. Masks, last: nothing behind them brings a word back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from frontend.api.languages import CODES, LANGUAGES
from frontend.audio.words import Word
from frontend.wording import written
from frontend.wording.aside import aside, log_failure
from frontend.wording.chat import Chat, Endpoint
from frontend.wording.correction import Correction
from frontend.wording.edits import Edit, applied, changes, rewritten
from frontend.wording.filters import Filters
from frontend.wording.phonetic import as_edits, replacements
from frontend.wording.roles import roles
from frontend.wording.wanted import WRITTEN, Wanted

# Characters of a text that is worked on at once, and hotwords beside it; others are worked on in a thread, because live
# speech would wait for them. (The worst that was made up of these took 5 ms.)
MOST_INLINE, FEW_HOTWORDS = 30, 20
# Grammars, tables and a client, from a slow disk.
PREPARING_S = 60.0
FAILED = "the correction failed"
NO_TIME = "the request had no time left for the correction"
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
        """Load what the steps need, which takes a moment the first time; the loop goes on meanwhile. A step whose parts
        cannot be loaded fails by itself."""
        if wanted.text_format == WRITTEN or wanted.phonetic or wanted.role is not None:
            try:
                await asyncio.wait_for(asyncio.to_thread(_load, wanted), PREPARING_S)
            except Exception as error:
                log_failure("loading the parts of the wording", error)

    async def worded(
        self,
        text: str,
        language: str | None,
        wanted: Wanted,
        corrected: Callable[[Worded, Wanted], Awaitable[Worded]] | None = None,
    ) -> Worded:
        """All steps. language: that was heard, by its name; corrected: in place of this object's own."""
        worded = await self.formed(text, language, wanted)
        if wanted.corrects:
            worded = await (corrected or self.corrected)(worded, wanted)
        worded = await self.masked(worded, wanted)
        self._observe(worded)
        return worded

    async def final(self, text: str, language: str | None, wanted: Wanted) -> tuple[Worded, Worded]:
        """Of a live utterance, whose text does not wait for a language model: the text to tell now, and the one to have
        corrected, which is not masked yet."""
        formed = await self.formed(text, language, wanted, is_live=True)
        worded = await self.masked(formed, wanted, is_live=True)
        self._observe(worded)
        return worded, formed

    async def formed(self, text: str, language: str | None, wanted: Wanted, *, is_live: bool = False) -> Worded:
        """The steps before a language model's."""
        worded = Worded(text, text, language)
        return await self._taken(self._formed, worded, wanted, is_live) if wanted.forms else worded

    async def corrected(self, worded: Worded, wanted: Wanted) -> Worded:
        """As the role wants it; as it was, and `error`, where that fails."""
        assert self._correction is not None
        assert wanted.role is not None
        try:
            answer = await self._correction.rewritten(worded.text, wanted.role)
            if answer.error:
                return replace(worded, error=answer.error)
            size = len(worded.text) + len(answer.text)
            return worded.edited("corrected", await aside(changes, worded.text, answer.text, size=size))
        except Exception as error:
            log_failure("a correction", error)
            return replace(worded, error=FAILED)

    async def masked(self, worded: Worded, wanted: Wanted, *, is_live: bool = False) -> Worded:
        return await self._taken(self._masked, worded, wanted, is_live) if wanted.filters else worded

    async def about(self, text: str, wanted: Wanted, within_s: float | None = None) -> dict[str, Any]:
        """What a role tells about a whole text, as the answer has it; {} where none was asked. within_s: seconds that
        are left for it."""
        if wanted.role is None or wanted.role.rewrites or self._correction is None:
            return {}
        told, error = "", ""
        try:
            answer = await asyncio.wait_for(self._correction.told(text, wanted.role), within_s)
            told, error = answer.text, answer.error
        except asyncio.TimeoutError:
            error = NO_TIME
        except Exception as failure:
            log_failure("a question about a text", failure)
            error = FAILED
        about = {"about": {"role": wanted.role.name, "text": told}}
        return {**about, "correction_error": error} if error else about

    async def _taken(
        self, step: Callable[[Worded, Wanted], Worded], worded: Worded, wanted: Wanted, is_live: bool
    ) -> Worded:
        """The text after a step; as it was where that fails, because a text that is known is told."""
        try:
            if _is_quick(worded, wanted):
                return step(worded, wanted)
            return await aside(step, worded, wanted, size=len(worded.text), is_live=is_live)
        except Exception as error:
            log_failure("a step of the wording", error)
            return worded

    def _formed(self, worded: Worded, wanted: Wanted) -> Worded:
        started = time.perf_counter()
        for is_wanted, step in (
            (wanted.phonetic and bool(wanted.hotwords), self._with_hotwords),
            (bool(wanted.filters), self._without_fillers),
            (wanted.text_format == WRITTEN, self._in_written_form),
        ):
            if not is_wanted:
                continue
            try:
                worded = step(worded, wanted)
            except Exception as error:
                # The others are taken all the same.
                log_failure("a step of the wording", error)
        return replace(worded, milliseconds=1000 * (time.perf_counter() - started))

    def _with_hotwords(self, worded: Worded, wanted: Wanted) -> Worded:
        heard = replacements(worded.text, wanted.hotwords, worded.language)
        told = [{"heard": one.heard, "hotword": one.phrase, "likeness": round(one.likeness, 3)} for one in heard]
        return replace(worded.edited("phonetic", as_edits(heard)), told=tuple(told[:MOST_TOLD]))

    def _without_fillers(self, worded: Worded, wanted: Wanted) -> Worded:
        return worded.edited("dropped", self.filters.dropped(worded.text, wanted.filters, _code(worded.language)))

    def _in_written_form(self, worded: Worded, _: Wanted) -> Worded:
        return worded.edited("written", written.written_form(worded.text, worded.language))

    def _masked(self, worded: Worded, wanted: Wanted) -> Worded:
        edits = self.filters.masked(worded.text, wanted.filters, _code(worded.language), wanted.mask)
        return worded.edited("masked", edits)


def spoken(heard: str | None, asked: str | None) -> str | None:
    """The language of a text by its name: the one that was heard, or else the one that was asked for."""
    if heard and heard in CODES:
        return heard
    named = (asked or "").strip().lower()
    return LANGUAGES.get(named) or (named.capitalize() if named.capitalize() in CODES else None)


def _is_quick(worded: Worded, wanted: Wanted) -> bool:
    """Whether it takes a few milliseconds at most, whatever is said."""
    many_hotwords = wanted.phonetic and len(wanted.hotwords) > FEW_HOTWORDS
    return len(worded.text) <= MOST_INLINE and not many_hotwords


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
