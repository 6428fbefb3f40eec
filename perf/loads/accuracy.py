"""Word and character error rates over speech with texts: offline, live, one server against another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jiwer
import numpy as np
from tqdm import tqdm

from export.speech import Spoken
from frontend.triton.client import TritonClient, TritonRefused, TritonUnavailable
from perf.live_client import LiveClient
from perf.loads.normalizers import choice, counted_by_character, normalizer
from perf.loads.revisions import revised

AT_A_TIME = 8
RESAMPLES = 1_000
CHUNK = 1_600


@dataclass(frozen=True)
class Answer:
    """What was heard in a clip. Live only: when the first word came, words of partials, and how many were revised."""

    text: str
    language: str | None
    error: str | None = None
    first_word_s: float | None = None
    words_told: int = 0
    words_revised: int = 0


@dataclass
class Score:
    """Errors of a set: counts, the rate and its 95 % interval by bootstrap over clips, in shares."""

    clips: int
    rate: float
    low: float
    high: float
    substitutions: int
    deletions: int
    insertions: int
    length: int
    worst: list[tuple[float, str, str, str]] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        return {
            "clips": self.clips,
            "error_rate": f"{100 * self.rate:.2f} %",
            "95 % interval": f"{100 * self.low:.2f} to {100 * self.high:.2f} %",
            "substituted": self.substitutions,
            "deleted": self.deletions,
            "inserted": self.insertions,
            "of": self.length,
        }


def score(speech: list[Spoken], texts: list[str], normalize: str, *, by_character: bool, seed: int = 0) -> Score:
    """Words (or characters) that are wrong; clips without a text are left out. ValueError where none has one.

    normalize: of normalizers.NAMES but `auto`.
    """
    pairs = []
    for one, heard in zip(speech, texts, strict=True):
        if one.text is None:
            continue
        # A text without spaces is not English, whether its language is named or not.
        clean = normalizer(normalize, one.language or ("Chinese" if by_character else None))
        said, heard = clean(one.text), clean(heard)
        if by_character:
            said, heard = (" ".join(text.replace(" ", "")) for text in (said, heard))
        pairs.append((one.path.name, said, heard))
    if not pairs:
        raise ValueError("no clip has a text to compare with")
    counts = np.array([_counts(said, heard) for _, said, heard in pairs])
    errors, lengths = counts[:, :3].sum(axis=1), counts[:, 3]
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(pairs), (RESAMPLES, len(pairs)))
    rates = errors[drawn].sum(axis=1) / np.maximum(1, lengths[drawn].sum(axis=1))
    low, high = np.percentile(rates, [2.5, 97.5])
    order = np.argsort(-errors / np.maximum(1, lengths), kind="stable")
    worst = [(float(errors[i] / max(1, lengths[i])), *pairs[i]) for i in order[:5] if errors[i]]
    wrong, left_out, put_in, length = (int(one) for one in counts.sum(axis=0))
    rate = float(errors.sum() / max(1, lengths.sum()))
    return Score(len(pairs), rate, float(low), float(high), wrong, left_out, put_in, length, worst)


def _counts(said: str, heard: str) -> tuple[int, int, int, int]:
    """Substitutions, deletions, insertions, length."""
    if not said:
        return 0, 0, len(heard.split()), 0
    found = jiwer.process_words(said, heard)
    length = found.hits + found.substitutions + found.deletions
    return found.substitutions, found.deletions, found.insertions, length


async def offline(url: str, speech: list[Spoken], parameters: dict[str, Any] | None = None) -> list[Answer]:
    """Every clip by the model `asr`."""
    client = TritonClient(url)

    async def one(spoken: Spoken) -> Answer:
        result: dict[str, Any] = {}
        try:
            async for delta in client.transcribe(spoken.pcm(), parameters=parameters):
                result = delta.result or result
        except (TritonRefused, TritonUnavailable) as error:
            return Answer("", None, str(error))
        return Answer(result["text"], result["language"])

    try:
        return await _all(one, speech, "offline")
    finally:
        await client.close()


async def live(url: str, speech: list[Spoken], speed: float = 4.0) -> list[Answer]:
    """Every clip by `asr_stream`, in chunks of 100 ms at `speed` times the pace of speech; its finals joined."""

    async def one(spoken: Spoken) -> Answer:
        pcm = spoken.pcm()
        finals: list[str] = []
        before: list[str] = []
        language: str | None = None
        first: float | None = None
        told = taken_back = 0
        async with LiveClient(url) as client:

            async def feed() -> None:
                client.send(None)
                for start in range(0, pcm.size, CHUNK):
                    client.send(pcm[start : start + CHUNK])
                    await asyncio.sleep(CHUNK / 16_000 / speed)
                client.send(None, end=True)

            feeding = asyncio.create_task(feed())
            async for event in client.events():
                if event["type"] not in ("partial", "final"):
                    continue
                words = event["text"].split()
                taken_back += revised(before, words)
                if event["type"] == "partial":
                    told += len(words)
                    first = event["end"] if first is None and words else first
                    before = words
                else:
                    finals.append(event["text"])
                    language, before = event["language"] or language, []
            await feeding
        return Answer(" ".join(finals), language, None, first, told, taken_back)

    return await _all(one, speech, "live")


async def _all(ask: Callable[[Spoken], Any], speech: list[Spoken], name: str) -> list[Answer]:
    places = asyncio.Semaphore(AT_A_TIME)
    progress = tqdm(total=len(speech), desc=name, leave=False)

    async def one(spoken: Spoken) -> Answer:
        async with places:
            try:
                return await asyncio.wait_for(ask(spoken), 300)
            except asyncio.TimeoutError:
                return Answer("", None, "no answer within 300 s")
            finally:
                progress.update()

    try:
        return list(await asyncio.gather(*(one(spoken) for spoken in speech)))
    finally:
        progress.close()


def groups(speech: list[Spoken]) -> dict[tuple[str | None, bool], list[int]]:
    """Places of clips with a text that are counted together, by (language that the manifest names, whether it is
    counted by character). Clips in which nothing is said are counted with the first others of their language.

    Raises ValueError where no clip has a text.
    """
    found: dict[tuple[str | None, bool], list[int]] = {}
    silent = []
    for place, one in enumerate(speech):
        if one.text is None:
            continue
        if one.language is None and not one.text.strip():
            silent.append(place)
            continue
        found.setdefault((one.language, counted_by_character(one.language, one.text)), []).append(place)
    if silent:
        found.setdefault(next((key for key in found if key[0] is None), (None, False)), []).extend(silent)
    if not found:
        raise ValueError("no clip has a text to compare with")
    return found


def report(speech: list[Spoken], answers: dict[str, list[Answer]], normalize: str) -> tuple[list[dict[str, Any]], str]:
    """A row for each way and language, and, as text, the worst clips, streaming measures and what `auto` chose.

    normalize: of normalizers.NAMES. ValueError where no clip has a text.
    """
    rows, notes = [], []
    grouped = groups(speech)
    for (language, character), places in grouped.items():
        if normalize == "auto" and choice(normalize, [speech[place].text for place in places]) == "digits":
            name = f"{language or 'all'}, {'CER' if character else 'WER'}"
            notes.append(f"{name}: every text is a string of digits: each digit is a word (--normalize digits)")
    for way, heard in answers.items():
        for (language, character), places in grouped.items():
            chosen = [speech[place] for place in places]
            rules = choice(normalize, [one.text for one in chosen])
            found = score(chosen, [heard[place].text for place in places], rules, by_character=character)
            unit = "CER" if character else "WER"
            rows.append({"way": way, "language": language or "all", "unit": unit, **found.row()})
            notes += [f"{way}: {100 * one[0]:.0f} % {one[1]}: {one[2]!r} heard as {one[3]!r}" for one in found.worst]
        failed = [one.error for one in heard if one.error]
        if failed:
            notes.append(f"{way}: {len(failed)} clips failed, first: {failed[0]}")
        told = sum(one.words_told for one in heard)
        if told:
            firsts = [one.first_word_s for one in heard if one.first_word_s is not None]
            kept = 100 * (1 - sum(one.words_revised for one in heard) / told)
            notes.append(f"{way}: first word after {np.median(firsts):.2f} s (median); {kept:.2f} % of words kept")
    return rows, "\n".join(notes)
