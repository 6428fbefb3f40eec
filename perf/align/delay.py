"""How much later a live final goes out where its words are asked for: behind it, and inside of it."""

from __future__ import annotations

import asyncio
import math
import time

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from perf.live_client import LiveClient
from perf.speech.conversations import RATE_HZ, conversation

MODES = ("off", "event", "final")
CHUNK = 1_600
TIMEOUT_S = 60.0


async def delay(url: str, rounds: int) -> dict[str, float]:
    """align.delay_of_final_ms: the median, over pairs, of how much longer a flush waits for its final where
    word_timestamps is `event` than where it is `off`; _inside: where it is `final`; and align.words_after_final_ms,
    from a final to its words. Sessions in turns, at the pace of speech, in every order."""
    spent: dict[str, list[float]] = {mode: [] for mode in MODES}
    behind: list[float] = []
    for number in tqdm(range(rounds), desc="delay", leave=False):
        said = conversation(1, 500 + number)
        # It is flushed as soon as it is said: the pause that would end it is not waited for.
        pcm = said.pcm[: said.utterances[0].end]
        for mode in np.roll(MODES, number):
            final_s, words_s = await asyncio.wait_for(_session(url, pcm, str(mode)), TIMEOUT_S)
            spent[str(mode)].append(final_s)
            if mode == "event":
                behind.append(words_s)
    off = np.array(spent["off"])
    return {
        "align.final_ms": 1_000 * float(np.median(off)),
        "align.delay_of_final_ms": 1_000 * float(np.median(np.array(spent["event"]) - off)),
        "align.delay_of_final_ms_inside": 1_000 * float(np.median(np.array(spent["final"]) - off)),
        "align.words_after_final_ms": 1_000 * float(np.median(behind)),
    }


async def _session(url: str, pcm: NDArray[np.float32], mode: str) -> tuple[float, float]:
    """Seconds from a flush to its final, and from that to its words (nan where none follow)."""
    async with LiveClient(url) as client:
        client.send(None, word_timestamps=mode)
        begun = time.monotonic()
        for number, start in enumerate(range(0, pcm.size, CHUNK)):
            await asyncio.sleep(max(0.0, begun + (number + 1) * CHUNK / RATE_HZ - time.monotonic()))
            client.send(pcm[start : start + CHUNK])
        flushed = time.monotonic()
        client.send(None, command="flush")
        final_s = words_s = math.nan
        is_ended = False
        async for event in client.events():
            since = time.monotonic() - flushed
            if event["type"] == "error" or "words_error" in event:
                raise RuntimeError(f"a session failed: {event}")
            if event["type"] == "final":
                final_s = since
            if event["type"] == "words":
                words_s = since - final_s
            if not is_ended and not math.isnan(final_s if mode != "event" else words_s):
                client.send(None, end=True)
                is_ended = True
        return final_s, words_s
