"""Pools of training utterances as log-mel, made once in shards: sound is slower to compose than to learn from."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from export.rooms import room
from export.tiny.compose import Composer, Corpus

SHARD = 500

_composer: Composer | None = None


@dataclass(frozen=True)
class Example:
    """mel: float16 [128, frames], log10 mel power, not clamped; what it says."""

    mel: NDArray[np.float16]
    language: str
    digits: tuple[int, ...]


def _start(banks: str, leave_out: str | None, long_share: float) -> None:
    global _composer
    _composer = Composer(Corpus.training(Path(banks), leave_out), seed=0, long_share=long_share)


def _make_shard(job: tuple[str, int]) -> None:
    import random

    path, seed = Path(job[0]), job[1]
    assert _composer is not None
    _composer.random = random.Random(seed)
    _composer.numpy = np.random.default_rng(seed)
    log_mel = room("features", "log_mel").log_mel
    mels, rows = [], []
    for _ in range(SHARD):
        utterance = _composer.draw()
        pcm = utterance.pcm
        if pcm.size < 8000:
            pcm = np.pad(pcm, (0, 8000 - pcm.size))
        mel = log_mel(pcm).astype(np.float16)
        mels.append(mel)
        rows.append({"frames": mel.shape[1], "language": utterance.language, "digits": utterance.digits})
    np.save(path.with_suffix(".npy"), np.concatenate(mels, axis=1))
    path.write_text(json.dumps(rows))


def make_pool(
    folder: Path, banks: Path, leave_out: str | None, num_shards: int, seed: int, long_share: float, workers: int = 2
) -> None:
    """Make the shards that are missing; each is complete once its json lies beside its array."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(str(folder / f"{n:03}.json"), seed * 1000 + n) for n in range(num_shards)]
    missing = [job for job in jobs if not Path(job[0]).exists()]
    if not missing:
        return
    context = multiprocessing.get_context("fork")
    with context.Pool(workers, _start, (str(banks), leave_out, long_share)) as processes:
        list(tqdm(processes.imap(_make_shard, missing), total=len(missing), desc=f"pool {folder.name}"))


def load_pool(folder: Path) -> list[Example]:
    examples = []
    for path in sorted(folder.glob("*.json")):
        # Left on disk: shards of a pool are larger than many machines' memory.
        mels = np.load(path.with_suffix(".npy"), mmap_mode="r")
        position = 0
        for row in json.loads(path.read_text()):
            end = position + row["frames"]
            examples.append(Example(mels[:, position:end], row["language"], tuple(row["digits"])))
            position = end
    return examples
