"""What the aligner's training reads: batches of mel, and what is true of them in rows of audio and classes of time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Qwen2Tokenizer

from export.tiny.aligner_network import CLASS_MS, NUM_CLASSES
from export.tiny.timed_pool import TimedExample
from export.tiny.training import masked
from export.tiny.voices import WORDS

# Some longer silences are put before a clip, so that no place in it is a rare one.
MOST_FRAMES = 2_900
# Rows of audio of a second, the last of them half as long (`export.encoder.block_encoder`).
ROWS_A_SECOND = 13
ROW_SECONDS = 0.08

One = TypeVar("One")


@lru_cache(maxsize=1_000)
def _tokens(tokenizer: Qwen2Tokenizer, word: str) -> list[int]:
    return tokenizer(word, add_special_tokens=False).input_ids


def word_tokens(tokenizer: Qwen2Tokenizer, language: str, digits: tuple[int, ...]) -> list[list[int]]:
    """Token ids of each word."""
    return [_tokens(tokenizer, WORDS[language][digit]) for digit in digits]


def soft_classes(seconds: NDArray[np.float64]) -> Tensor:
    """Targets float32 [times, NUM_CLASSES]: a time between two classes is shared by them, so the nearest has most."""
    place = torch.from_numpy(np.clip(seconds * 1000 / CLASS_MS, 0, NUM_CLASSES - 1.001))
    low = place.floor().long()
    part = (place - low).float()
    targets = torch.zeros(len(place), NUM_CLASSES)
    rows = torch.arange(len(place))
    targets[rows, low] = 1 - part
    targets[rows, low + 1] = part
    return targets


def row_truth(example: TimedExample, shift: float, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What each of a clip's `count` rows of audio hears, the clip being `shift` seconds later than the example.

    Returns the word that has most of a row, int64 [count]: 0 for none, else 1 + digit, and ten more in Chinese; and
    float32 [count, 3]: the part of the row that is voice, and whether a word starts and ends in it.
    """
    row = np.arange(count)
    first = row // ROWS_A_SECOND + row % ROWS_A_SECOND * ROW_SECONDS
    last = np.where(row % ROWS_A_SECOND == ROWS_A_SECOND - 1, row // ROWS_A_SECOND + 1, first + ROW_SECONDS)
    spans = example.spans + shift
    shared = np.minimum(last[:, None], spans[None, :, 1]) - np.maximum(first[:, None], spans[None, :, 0])
    shared = shared.clip(min=0) / (last - first)[:, None]
    most = shared.argmax(1)
    base = 1 + 10 * list(WORDS).index(example.language)
    words = np.where(shared.max(1) > 0.3, base + np.array(example.digits)[most], 0)
    inside = [((edge >= first[:, None]) & (edge < last[:, None])).any(1) for edge in (spans[:, 0], spans[:, 1])]
    return words, np.stack([shared.sum(1).clip(max=1), *inside], axis=1).astype(np.float32)


def words_begun(spans: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """How many words have begun by the end of each of a clip's `count` rows: int64 [count]."""
    row = np.arange(count)
    last = row // ROWS_A_SECOND + np.minimum((row % ROWS_A_SECOND + 1) * ROW_SECONDS, 1.0)
    return (spans[None, :, 0] < last[:, None]).sum(axis=1)


def later(mel: NDArray[np.float32], generator: np.random.Generator) -> tuple[NDArray[np.float32], float]:
    """The clip behind up to some seconds of what its first frames hold, and how many seconds."""
    room = MOST_FRAMES - mel.shape[1]
    if room < 100 or generator.random() < 0.6:
        return mel, 0.0
    count = int(generator.integers(1, min(room, 1_000)))
    quiet = np.repeat(np.quantile(mel, 0.05, axis=1, keepdims=True), count, axis=1)
    quiet += generator.normal(0, 0.2, quiet.shape)
    return np.concatenate([quiet.astype(np.float32), mel], axis=1), count / 100


def mel_batch(
    examples: list[TimedExample], generator: np.random.Generator, change: bool = True
) -> tuple[Tensor, Tensor, Tensor, list[float]]:
    """Mel, frames and maxima as `TinyAsr.encode` takes them, and how many seconds later each clip is.

    change: masks and warps as well, so that no clip is heard twice.
    """
    clips = [later(masked(one.mel, generator) if change else one.mel.astype(np.float32), generator) for one in examples]
    longest = -(-max(mel.shape[1] for mel, _ in clips) // 100) * 100
    mel = np.zeros((len(clips), 128, longest), dtype=np.float32)
    for row, (part, _) in zip(mel, clips, strict=True):
        row[:, : part.shape[1]] = part
    return (
        torch.from_numpy(mel),
        torch.tensor([part.shape[1] for part, _ in clips]),
        torch.tensor([float(part.max()) for part, _ in clips]),
        [shift for _, shift in clips],
    )


def batches(examples: list[One], size: int, length: Callable[[One], int], rng: random.Random) -> Iterator[list[One]]:
    """Endless batches of similar length, so that little is padded."""
    while True:
        order = rng.sample(examples, len(examples))
        chunks = []
        for start in range(0, len(order) - size, size * 20):
            part = sorted(order[start : start + size * 20], key=length)
            chunks += [part[i : i + size] for i in range(0, len(part), size)]
        rng.shuffle(chunks)
        yield from chunks
