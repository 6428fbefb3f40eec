"""Hotwords on human digits under noise: strings that become right, strings that become wrong, and what it costs."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from export.tiny.compose import Corpus, coloured_noise
from export.tiny.timed_speech import timed_strings
from export.tiny.voices import TEST_TAKES, WORDS, human_digits
from frontend.triton.client import TritonClient
from perf.speech.clips import HUMAN_SPEECH

AT_A_TIME = 16
SHORTEST, LONGEST = 5, 8
# Decibels of the speech over the noise: tiny writes two strings of three without a mistake.
SNR_DB = 0.0
PHRASES = 8
# As many as a request may have.
MANY = 200


@dataclass(frozen=True)
class Clip:
    """A string of digits under noise: samples of 16 kHz, its words, and eight other strings of as many digits."""

    pcm: NDArray[np.float32]
    text: str
    others: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    text: str
    token_ids: tuple[int, ...]


def composed(count: int) -> list[Clip]:
    """Of takes that nobody trained on. Raises FileNotFoundError where there are no recordings."""
    corpus = Corpus()
    for label, pcm in human_digits(HUMAN_SPEECH):
        if label.take in TEST_TAKES:
            corpus.digits["English", label.voice][label.digits[0]].append(pcm)
    if not corpus.digits:
        raise FileNotFoundError(f"no recordings in {HUMAN_SPEECH}")
    rng, noise, words = random.Random(7), np.random.default_rng(7), WORDS["English"]
    clips = []
    for one in timed_strings(corpus, count, SHORTEST, LONGEST, seed=31):
        text = " ".join(words[digit] for digit in one.digits)
        others: set[str] = set()
        while len(others) < PHRASES:
            others |= {" ".join(rng.choice(words) for _ in one.digits)} - {text}
        loud = one.pcm.std() * 10 ** (-SNR_DB / 20)
        pcm = (one.pcm + loud * coloured_noise(one.pcm.size, noise)).astype(np.float32)
        clips.append(Clip(pcm, text, tuple(sorted(others))))
    return clips


async def bias(url: str, count: int) -> dict[str, float]:
    """wording.bias_recall, _off: strings that are right, with the true one among eight hotwords and without any.
    wording.bias_false: strings that change where none of the eight is true. wording.bias_others_differ: answers without
    hotwords that differ in a token from what they are alone, in batches with others that have them. wording.bias_cost:
    seconds of all clips with hotwords over those without, and with 200 of them."""
    clips = composed(count)
    client = TritonClient(url)
    try:
        many = tuple(dict.fromkeys(other for clip in clips for other in clip.others))[:MANY]
        # The first round makes everything warm.
        for _ in range(2):
            plain, plain_s = await _answers(client, [(clip, ()) for clip in clips], "without")
            true, true_s = await _answers(client, [(clip, (*clip.others[1:], clip.text)) for clip in clips], "with")
            _, many_s = await _answers(client, [(clip, many) for clip in clips], "with many")
        false, _ = await _answers(client, [(clip, clip.others) for clip in clips], "false")
        both = [asked for clip in clips for asked in ((clip, ()), (clip, clip.others))]
        mixed = (await _answers(client, both, "mixed"))[0][::2]
    finally:
        await client.close()
    texts = [clip.text for clip in clips]
    return {
        "wording.bias_recall": _share(one.text == text for one, text in zip(true, texts, strict=True)),
        "wording.bias_recall_off": _share(one.text == text for one, text in zip(plain, texts, strict=True)),
        "wording.bias_false": _share(one.text != other.text for one, other in zip(false, plain, strict=True)),
        "wording.bias_others_differ": sum(a.token_ids != b.token_ids for a, b in zip(mixed, plain, strict=True)),
        "wording.bias_cost": true_s / plain_s,
        "wording.bias_cost_200": many_s / plain_s,
        "wording.bias_clips": len(clips),
    }


def _share(found: Iterable[bool]) -> float:
    return float(np.mean([*found]))


async def _answers(
    client: TritonClient, asked: list[tuple[Clip, tuple[str, ...]]], what: str
) -> tuple[list[Answer], float]:
    """All answers in order, so many at a time, and the seconds that took."""
    places, progress = asyncio.Semaphore(AT_A_TIME), tqdm(total=len(asked), desc=f"bias {what}", leave=False)

    async def one(clip: Clip, phrases: tuple[str, ...]) -> Answer:
        async with places:
            parameters: dict[str, str | int | float | bool] = {"vad": "off", "deltas": False}
            if phrases:
                parameters["hotwords"] = json.dumps(phrases)
            text, tokens = "", []
            async for delta in client.transcribe(clip.pcm, parameters=parameters):
                text += delta.text
                tokens += list(delta.token_ids)
            progress.update()
            return Answer(text, tuple(tokens))

    started = time.monotonic()
    with progress:
        answers = await asyncio.gather(*(one(*each) for each in asked))
    return list(answers), time.monotonic() - started
