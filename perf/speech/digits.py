"""Connected human digits with what is said in them: a speech set for accuracy where no other is at hand."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import soundfile

from perf.speech.clips import HUMAN_SPEECH, recording

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SAMPLE_RATE_HZ = 16_000


def write_digits(folder: Path, count: int = 100, seed: int = 0) -> Path:
    """Strings of 2 to 7 digits of one speaker each, joined with gaps of 50 to 500 ms, from takes that the tiny
    checkpoints were not trained on; returns the manifest. Raises FileNotFoundError without the recordings."""
    paths = sorted(HUMAN_SPEECH.glob("*_[0-4].wav"))
    if not paths:
        raise FileNotFoundError(f"no recordings in {HUMAN_SPEECH}")
    rng = random.Random(seed)
    speakers = sorted({path.stem.split("_")[1] for path in paths})
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        mine = [path for path in paths if path.stem.split("_")[1] == speakers[number % len(speakers)]]
        chosen = [rng.choice(mine) for _ in range(rng.randint(2, 7))]
        parts = [np.zeros(4_000, dtype=np.float32)]
        for path in chosen:
            parts += [recording(path), np.zeros(rng.randint(800, 8_000), dtype=np.float32)]
        name = f"{number:04}.wav"
        soundfile.write(folder / name, np.concatenate([*parts, np.zeros(4_000, dtype=np.float32)]), SAMPLE_RATE_HZ)
        text = " ".join(WORDS[int(path.stem.split("_")[0])] for path in chosen)
        rows.append({"audio": name, "text": text, "language": "English"})
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest
