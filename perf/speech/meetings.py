"""Conversations of several people composed of single digits: who says what when, with pauses and some overlap."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perf.speech.clips import HUMAN_SPEECH, recording
from perf.speech.conversations import RATE_HZ, WORDS

# Turns that begin before the one before has ended, and by how many seconds.
OVERLAPPING, OVERLAP_S = 0.12, (0.15, 0.5)
PAUSE_S, GAP_S = (0.25, 1.2), (0.05, 0.3)


@dataclass(frozen=True)
class Turn:
    """start, end: samples."""

    speaker: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Meeting:
    """pcm float32 [samples], 16 kHz; its turns in the order of their beginnings."""

    pcm: NDArray[np.float32]
    turns: list[Turn]

    @property
    def speakers(self) -> list[str]:
        return sorted({turn.speaker for turn in self.turns})


def people() -> list[str]:
    """Everybody there are recordings of. Raises FileNotFoundError without any."""
    found = sorted({path.stem.split("_")[1] for path in HUMAN_SPEECH.glob("*_0.wav")})
    if not found:
        raise FileNotFoundError(f"no recordings in {HUMAN_SPEECH}")
    return found


def meeting(num_speakers: int, num_turns: int, seed: int) -> Meeting:
    """Turns of 2 to 8 digits, nobody twice in a row, everybody at least twice; faint noise. The takes are those that
    the tiny checkpoints were not trained on."""
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    speakers = rng.sample(people(), num_speakers)
    order = _order(speakers, num_turns, rng)
    loud = {speaker: rng.uniform(0.5, 1.0) for speaker in speakers}
    spoken = [(speaker, *_turn(speaker, loud[speaker], rng)) for speaker in order]
    turns: list[Turn] = []
    position = int(rng.uniform(0.3, 0.8) * RATE_HZ)
    for speaker, text, pcm in spoken:
        if turns and rng.random() < OVERLAPPING:
            position = turns[-1].end - int(min(rng.uniform(*OVERLAP_S) * RATE_HZ, pcm.size / 3))
        elif turns:
            position = turns[-1].end + int(rng.uniform(*PAUSE_S) * RATE_HZ)
        turns.append(Turn(speaker, text, position, position + pcm.size))
    heard = np.zeros(max(turn.end for turn in turns) + RATE_HZ // 2, dtype=np.float32)
    for turn, (_, _, pcm) in zip(turns, spoken, strict=True):
        heard[turn.start : turn.end] += pcm
    heard += 3e-4 * noise.standard_normal(heard.size).astype(np.float32)
    return Meeting(heard, turns)


def reference(speaker: str, seconds: float, seed: int) -> NDArray[np.float32]:
    """So much of somebody's speech, of other takes than a meeting's."""
    rng = random.Random(seed)
    takes = sorted(path for path in HUMAN_SPEECH.glob(f"*_{speaker}_*.wav") if int(path.stem.split("_")[2]) >= 5)
    parts: list[NDArray[np.float32]] = []
    while sum(part.size for part in parts) < seconds * RATE_HZ:
        parts += [recording(rng.choice(takes)), np.zeros(int(rng.uniform(*GAP_S) * RATE_HZ), dtype=np.float32)]
    return np.concatenate(parts)[: int(seconds * RATE_HZ)]


def _order(speakers: list[str], num_turns: int, rng: random.Random) -> list[str]:
    while True:
        order = [rng.choice(speakers)]
        while len(order) < num_turns:
            order.append(rng.choice([one for one in speakers if one != order[-1]]))
        if all(order.count(one) >= 2 for one in speakers):
            return order


def _turn(speaker: str, gain: float, rng: random.Random) -> tuple[str, NDArray[np.float32]]:
    digits = [rng.randrange(10) for _ in range(rng.randint(2, 8))]
    parts: list[NDArray[np.float32]] = []
    for digit in digits:
        if parts:
            parts.append(np.zeros(int(rng.uniform(*GAP_S) * RATE_HZ), dtype=np.float32))
        parts.append(recording(HUMAN_SPEECH / f"{digit}_{speaker}_{rng.randrange(5)}.wav") * gain)
    return " ".join(WORDS[digit] for digit in digits), np.concatenate(parts)
