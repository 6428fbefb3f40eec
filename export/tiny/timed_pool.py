"""Pools of timed utterances as log-mel, made once in shards."""

from __future__ import annotations

import json
import multiprocessing
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from export.rooms import room
from export.tiny.compose import Corpus
from export.tiny.timed_speech import TimedComposer

SHARD = 500

_composer: TimedComposer | None = None


@dataclass(frozen=True)
class TimedExample:
    """mel: float16 [128, frames], log10 mel power, not clamped; what it says, and where: [digits, 2] in seconds."""

    mel: NDArray[np.float16]
    language: str
    digits: tuple[int, ...]
    spans: NDArray[np.float64]


def _start(banks: str, leave_out: str | None) -> None:
    global _composer
    _composer = TimedComposer(Corpus.training(Path(banks), leave_out), seed=0)


def _make_shard(job: tuple[str, int]) -> None:
    path, seed = Path(job[0]), job[1]
    assert _composer is not None
    _composer.random, _composer.numpy = random.Random(seed), np.random.default_rng(seed)
    log_mel = room("features", "log_mel").log_mel
    mels, rows = [], []
    for _ in range(SHARD):
        one = _composer.draw()
        mel = log_mel(np.pad(one.pcm, (0, max(0, 8000 - one.pcm.size)))).astype(np.float16)
        mels.append(mel)
        rows.append(
            {"frames": mel.shape[1], "language": one.language, "digits": one.digits, "spans": one.spans.tolist()}
        )
    np.save(path.with_suffix(".npy"), np.concatenate(mels, axis=1))
    path.write_text(json.dumps(rows))


def make_timed_pool(
    folder: Path, banks: Path, leave_out: str | None, num_shards: int, seed: int, workers: int = 2
) -> None:
    """Make the shards that are missing; each is complete once its json lies beside its array."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(str(folder / f"{n:03}.json"), seed * 1000 + n) for n in range(num_shards)]
    missing = [job for job in jobs if not Path(job[0]).exists()]
    if not missing:
        return
    with multiprocessing.get_context("fork").Pool(workers, _start, (str(banks), leave_out)) as processes:
        list(tqdm(processes.imap(_make_shard, missing), total=len(missing), desc=f"pool {folder.name}"))


def load_timed_pool(folder: Path) -> list[TimedExample]:
    examples = []
    for path in sorted(folder.glob("*.json")):
        mels = np.load(path.with_suffix(".npy"), mmap_mode="r")
        position = 0
        for row in json.loads(path.read_text()):
            end = position + row["frames"]
            spans = np.array(row["spans"])
            examples.append(TimedExample(mels[:, position:end], row["language"], tuple(row["digits"]), spans))
            position = end
    return examples
