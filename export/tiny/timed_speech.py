"""Utterances that know where their words lie: recordings of single digits, joined with gaps."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.tiny.compose import MAX_SECONDS, Corpus, Pcm, augment, change_speed, coloured_noise, joined
from export.tiny.voices import SAMPLE_RATE_HZ, random_digits

# A window's energy counts as voice from this many dB below the loudest on; below it a recording breathes and hums.
VOICE_DB = -28.0
WINDOW = SAMPLE_RATE_HZ // 100


@dataclass(frozen=True)
class TimedUtterance:
    """PCM at 16 kHz, the digits that it says, and where each is: spans [digits, 2], start and end in seconds."""

    pcm: Pcm
    language: str
    digits: tuple[int, ...]
    spans: NDArray[np.float64]


def voice_span(pcm: Pcm) -> tuple[int, int]:
    """The samples from the first to the last window of 10 ms that is voice."""
    count = max(1, pcm.size // WINDOW)
    windows = np.pad(pcm, (0, max(0, count * WINDOW - pcm.size)))[: count * WINDOW].reshape(count, -1)
    energy = np.sqrt(np.mean(np.square(windows, dtype=np.float64), axis=1))
    loud = np.flatnonzero(energy > energy.max() * 10 ** (VOICE_DB / 20))
    return (0, pcm.size) if loud.size == 0 else (int(loud[0]) * WINDOW, min(pcm.size, (int(loud[-1]) + 1) * WINDOW))


def timed(recordings: list[Pcm], gaps: list[float], language: str, digits: tuple[int, ...]) -> TimedUtterance:
    """Recordings joined as `compose.joined` does it. gaps: seconds of silence before each, and behind the last."""
    spans, position = [], 0
    for gap, pcm in zip(gaps, recordings, strict=False):
        position += int(gap * SAMPLE_RATE_HZ)
        first, last = voice_span(pcm)
        spans.append(((position + first) / SAMPLE_RATE_HZ, (position + last) / SAMPLE_RATE_HZ))
        position += pcm.size
    return TimedUtterance(joined(recordings, gaps), language, digits, np.array(spans))


class TimedComposer:
    """Draws training utterances: half of them human, a third Mandarin."""

    def __init__(self, corpus: Corpus, seed: int) -> None:
        self.corpus = corpus
        self.random = random.Random(seed)
        self.numpy = np.random.default_rng(seed)
        rich = [key for key, by_digit in corpus.digits.items() if len(by_digit) >= 4]
        self._human = [key for key in rich if key[1].startswith("human")]
        self._english = [key for key in rich if key[0] == "English" and key not in self._human]
        # A variant of a synthesizer has spoken few digits: its language's other variants speak the rest.
        self._chinese = [key for key in corpus.digits if key[0] == "Chinese"]

    def draw(self) -> TimedUtterance:
        kind = self.random.random()
        if kind < 0.5 and self._human:
            made = self._of_voice(self.random.choice(self._human))
        elif kind < 0.67 or not self._chinese:
            made = self._of_voice(self.random.choice(self._english or self._human))
        else:
            made = self._mandarin()
        return TimedUtterance(augment(made.pcm, self.numpy), made.language, made.digits, made.spans)

    def _of_voice(self, key: tuple[str, str]) -> TimedUtterance:
        by_digit = self.corpus.digits[key]
        digits = tuple(d for d in self._digits() if d in by_digit) or (next(iter(by_digit)),)
        return self._spoken(key[0], digits, [self.random.choice(by_digit[d]) for d in digits])

    def _mandarin(self) -> TimedUtterance:
        digits, recordings = [], []
        for digit in self._digits():
            key = self.random.choice(self._chinese)
            digit = digit if digit in self.corpus.digits[key] else next(iter(self.corpus.digits[key]))
            digits.append(digit)
            recordings.append(self.random.choice(self.corpus.digits[key][digit]))
        return self._spoken("Chinese", tuple(digits), recordings)

    def _digits(self) -> tuple[int, ...]:
        return random_digits(self.random, most=20 if self.random.random() < 0.25 else 10)

    def _spoken(self, language: str, digits: tuple[int, ...], recordings: list[Pcm]) -> TimedUtterance:
        speed = self.random.uniform(0.75, 1.35) if self.random.random() < 0.8 else 1.0
        recordings = [change_speed(pcm, speed) * self.random.uniform(0.5, 1.0) for pcm in recordings]
        # Some are cut to their voice, so that words follow each other at once.
        if self.random.random() < 0.5:
            recordings = [pcm[slice(*voice_span(pcm))] for pcm in recordings]
        gaps = [self._edge(), *(self._gap() for _ in digits[1:]), self._edge()]
        while sum(pcm.size for pcm in recordings) / SAMPLE_RATE_HZ + sum(gaps) > MAX_SECONDS and len(digits) > 1:
            recordings, digits, gaps = recordings[:-1], digits[:-1], [*gaps[:-2], gaps[-1]]
        return timed(recordings, gaps, language, digits)

    def _gap(self) -> float:
        roll = self.random.random()
        if roll < 0.25:
            return self.random.uniform(0.0, 0.05)
        return self.random.uniform(0.05, 0.5) if roll < 0.9 else self.random.uniform(0.5, 2.5)

    def _edge(self) -> float:
        return self.random.choice([0.0, self.random.uniform(0, 0.5), self.random.uniform(0, 3.0)])


def timed_strings(corpus: Corpus, count: int, shortest: int, longest: int, seed: int) -> list[TimedUtterance]:
    """Strings of digits of each voice in turn, joined with gaps of 50 to 500 ms of faint noise, nothing else done."""
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    keys = sorted(key for key, by_digit in corpus.digits.items() if len(by_digit) == 10)
    made = []
    for number in range(count):
        key = keys[number % len(keys)]
        digits = tuple(rng.randrange(10) for _ in range(rng.randint(shortest, longest)))
        recordings = [rng.choice(corpus.digits[key][digit]) for digit in digits]
        one = timed(recordings, [rng.uniform(0.05, 0.5) for _ in range(len(digits) + 1)], key[0], digits)
        pcm = (one.pcm + 1e-4 * coloured_noise(one.pcm.size, noise)).astype(np.float32)
        made.append(TimedUtterance(pcm, one.language, one.digits, one.spans))
    return made
