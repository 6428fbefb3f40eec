"""Speech to measure with: the shipped recordings, and human digits where they are at hand."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frontend.audio.decoding import decode

RECORDINGS = Path(__file__).resolve().parent.parent / "recordings"
HUMAN_SPEECH = Path(__file__).resolve().parents[3] / "shared" / "speech" / "fsdd" / "recordings"


def recording(path: Path | str) -> NDArray[np.float32]:
    """A sound file as float32 PCM at 16 kHz."""
    with Path(path).open("rb") as file:
        return decode(file, max_seconds=600)


def mixed_clips(count: int, seed: int = 0) -> list[NDArray[np.float32]]:
    """Clips of 1 to 12 s: human digits joined with pauses, or parts of the shipped recordings without them."""
    rng = random.Random(seed)
    human = sorted(HUMAN_SPEECH.glob("*_[0-4].wav"))
    shipped = [recording(path) for path in sorted(RECORDINGS.glob("*.flac"))]
    clips = []
    for number in range(count):
        if human and number % 4:
            speaker = rng.choice(human).stem.split("_")[1]
            voices = [path for path in human if f"_{speaker}_" in path.name]
            parts: list[NDArray[np.float32]] = []
            for _ in range(rng.randint(2, 14)):
                parts += [np.zeros(rng.randint(800, 8_000), dtype=np.float32), recording(rng.choice(voices))]
            clips.append(np.concatenate([*parts, np.zeros(4_000, dtype=np.float32)]))
        else:
            whole = np.concatenate([rng.choice(shipped) for _ in range(rng.randint(1, 2))])
            clips.append(whole)
    return clips
