"""What the steps add to a live final: hotwords, fillers, the written form, masks and the times of its words."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from statistics import quantiles
from typing import Any

from frontend.audio.words import Word
from frontend.wording.stage import Wording
from frontend.wording.wanted import WRITTEN, Wanted
from perf.wording.tables import rows

# A final of some ten seconds: so many sentences, of which every third has a name, a number or a filler.
SENTENCES = 3
FINALS, QUICK_FINALS = 1_000, 200


def overhead(quick: bool) -> dict[str, Any]:
    """p50 and p95 of the milliseconds a final, with 200 hotwords, in both languages, of the processor's time in all
    threads, which others on the machine hardly change; and of the first one, which loads grammars and tables, with the
    memory that these take. (To be measured before the other parts, which load them too.)"""
    return asyncio.run(_overhead(QUICK_FINALS if quick else FINALS))


async def _overhead(count: int) -> dict[str, Any]:
    hotwords = tuple(row[1] for row in rows("names"))[:200]
    wanted = Wanted(WRITTEN, phonetic=True, filters=("fillers", "profanity"), hotwords=hotwords)
    wording = Wording()
    before = _megabytes()
    started = time.perf_counter()
    await wording.prepare(wanted)
    first = 1000 * (time.perf_counter() - started)
    figures: dict[str, Any] = {"wording.first_ms": first, "wording.memory_mb": _megabytes() - before}
    every: list[float] = []
    for language in ("English", "Chinese"):
        taken = []
        for text in itertools.islice(_finals(language), count):
            words = _words(text, language)
            started = time.process_time()
            worded = await wording.worded(text, language, wanted)
            worded.words(words)
            taken.append(1000 * (time.process_time() - started))
        figures[f"wording.overhead_p95_ms_{language.lower()}"] = quantiles(taken, n=20)[-1]
        every += taken
    figures["wording.overhead_p50_ms"] = quantiles(every, n=20)[9]
    figures["wording.overhead_ms"] = quantiles(every, n=20)[-1]
    return figures


def _finals(language: str) -> Any:
    """Texts without an end, the same at every run."""
    chance = random.Random(language)
    sentences = [row[2] for row in rows("clean") if row[:2] == [language, "sentence"]]
    words = [row[2] for row in rows("clean") if row[:2] == [language, "word"]]
    words += [row[2] for row in rows("pairs") if row[0] == language][:60]
    words += [row[1] for row in rows("written") if row[0] == language]
    filler = {"English": "Um, ", "Chinese": "嗯，"}[language]
    while True:
        said = [chance.choice(sentences).format(chance.choice(words)) for _ in range(SENTENCES)]
        yield filler + (" " if language == "English" else "").join(said)


def _words(text: str, language: str) -> list[Word]:
    parts = text.split() if language == "English" else list(text)
    before = " " if language == "English" else ""
    return [Word(part, number, number + 0.5, 0.9, before if number else "") for number, part in enumerate(parts)]


def _megabytes() -> float:
    """Of this process, in memory."""
    import psutil

    return float(psutil.Process().memory_info().rss) / 1e6
