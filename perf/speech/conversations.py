"""Sessions of somebody who says a few digits, pauses, and says more: audio, and what is said where."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perf.speech.clips import HUMAN_SPEECH, RECORDINGS, recording

RATE_HZ = 16_000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SHIPPED = {"english": "four two seven nine zero one five", "chinese": "三八零二六"}


@dataclass(frozen=True)
class Said:
    """Words between two samples of a session."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Conversation:
    """pcm float32 [samples], 16 kHz, and its utterances in order."""

    pcm: NDArray[np.float32]
    utterances: list[Said]

    @property
    def text(self) -> str:
        return " ".join(said.text for said in self.utterances)


def conversation(num_utterances: int, seed: int) -> Conversation:
    """Utterances of 2 to 9 digits by one person, gaps of 50 to 400 ms in them and 1 to 2 s between them, faint noise.

    The takes are those that the tiny checkpoint was not trained on; without them the shipped recordings speak.
    """
    rng = random.Random(seed)
    noise = np.random.default_rng(seed)
    takes = sorted(HUMAN_SPEECH.glob("*_[0-4].wav"))
    speaker = rng.choice(sorted({path.stem.split("_")[1] for path in takes})) if takes else ""
    parts: list[NDArray[np.float32]] = [_silence(rng.uniform(0.6, 1.2))]
    utterances: list[Said] = []
    for _ in range(num_utterances):
        start = sum(part.size for part in parts)
        if takes:
            text = _digits(rng, speaker, parts)
        else:
            name, text = rng.choice(sorted(SHIPPED.items()))
            parts.append(recording(RECORDINGS / f"{name}.flac"))
        utterances.append(Said(text, start, sum(part.size for part in parts)))
        parts.append(_silence(rng.uniform(1.0, 2.0)))
    pcm = np.concatenate(parts)
    pcm += (10 ** rng.uniform(-4, -3) * noise.standard_normal(pcm.size)).astype(np.float32)
    return Conversation(pcm, utterances)


def _digits(rng: random.Random, speaker: str, parts: list[NDArray[np.float32]]) -> str:
    digits = [rng.randrange(10) for _ in range(rng.randint(2, 9))]
    for index, digit in enumerate(digits):
        if index:
            parts.append(_silence(rng.uniform(0.05, 0.4)))
        parts.append(recording(HUMAN_SPEECH / f"{digit}_{speaker}_{rng.randrange(5)}.wav"))
    return " ".join(WORDS[digit] for digit in digits)


def _silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(int(seconds * RATE_HZ), dtype=np.float32)
