"""Training of the tiny aligner: cross-entropy over classes of time at the rows that tell them."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import trange
from transformers import Qwen2Tokenizer

from export.tiny.aligner_network import (
    CLASS_MS,
    NUM_CLASSES,
    TinyAligner,
    aligner_config,
    aligner_tokenizer,
    save_aligner,
)
from export.tiny.timed_pool import TimedExample
from export.tiny.training import masked
from export.tiny.voices import WORDS

logger = logging.getLogger(__name__)

BATCH = 24
WARM_UP = 200
SAVE_EVERY = 500
PLACE_WEIGHT = 0.3
# Some longer silences are put before a clip, so that no place in it is a rare one.
MOST_FRAMES = 2_900


def word_tokens(tokenizer: Qwen2Tokenizer, language: str, digits: tuple[int, ...]) -> list[list[int]]:
    """Token ids of each word."""
    return [tokenizer(WORDS[language][digit], add_special_tokens=False).input_ids for digit in digits]


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


def _later(mel: NDArray[np.float32], generator: np.random.Generator) -> tuple[NDArray[np.float32], float]:
    """The clip behind up to some seconds of what its first frames hold, and how many seconds."""
    room = MOST_FRAMES - mel.shape[1]
    if room < 100 or generator.random() < 0.6:
        return mel, 0.0
    count = int(generator.integers(1, min(room, 1_000)))
    quiet = np.repeat(np.quantile(mel, 0.05, axis=1, keepdims=True), count, axis=1)
    quiet += generator.normal(0, 0.2, quiet.shape)
    return np.concatenate([quiet.astype(np.float32), mel], axis=1), count / 100


def _batch(
    examples: list[TimedExample], tokenizer: Qwen2Tokenizer, generator: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, list[list[list[int]]], Tensor]:
    later = [_later(masked(example.mel, generator), generator) for example in examples]
    longest = -(-max(mel.shape[1] for mel, _ in later) // 100) * 100
    mel = np.zeros((len(later), 128, longest), dtype=np.float32)
    for row, (part, _) in zip(mel, later, strict=True):
        row[:, : part.shape[1]] = part
    return (
        torch.from_numpy(mel),
        torch.tensor([part.shape[1] for part, _ in later]),
        torch.tensor([float(part.max()) for part, _ in later]),
        [word_tokens(tokenizer, example.language, example.digits) for example in examples],
        soft_classes(
            np.concatenate([(e.spans + shift).ravel() for e, (_, shift) in zip(examples, later, strict=True)])
        ),
    )


def _batches(examples: list[TimedExample], rng: random.Random) -> Iterator[list[TimedExample]]:
    """Endless batches of similar length, so that little is padded."""
    while True:
        order = rng.sample(examples, len(examples))
        chunks = []
        for start in range(0, len(order) - BATCH, BATCH * 20):
            part = sorted(order[start : start + BATCH * 20], key=lambda one: one.mel.shape[1])
            chunks += [part[i : i + BATCH] for i in range(0, len(part), BATCH)]
        rng.shuffle(chunks)
        yield from chunks


def train_aligner(
    examples: list[TimedExample], start_from: Path, run: Path, steps: int, rate: float, seed: int
) -> None:
    """Train for `steps` steps, resuming from `run`/state.pt; writes the checkpoint to `run`/checkpoint.

    start_from: a recognizer's checkpoint folder.
    """
    torch.manual_seed(seed)
    tokenizer = aligner_tokenizer()
    model = TinyAligner(aligner_config(tokenizer), tokenizer)
    model.begin_with(start_from)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            min(1.0, (step + 1) / WARM_UP) * (0.5 + 0.5 * float(np.cos(np.pi * min(1.0, step / steps)))) + 0.003
        ),
    )
    run.mkdir(parents=True, exist_ok=True)
    saved, first = run / "state.pt", 0
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first = state["step"]
    generator = np.random.default_rng(seed + first)
    source = _batches(examples, random.Random(seed + first))
    model.train()
    mean = {"time": 0.0, "place": 0.0, "off_ms": 0.0}
    started = time.monotonic()
    progress = trange(first, steps, desc=run.name, mininterval=10.0)
    for step in progress:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mel, frames, clip_max, words, targets = _batch(next(source), tokenizer, generator)
            told = model(mel, frames, clip_max, words)
            rows = torch.cat([torch.arange(count) for count in model.num_rows(frames)])
            time_loss = nn.functional.cross_entropy(told.classes, targets)
            place_loss = nn.functional.cross_entropy(told.places, rows.clamp(max=NUM_CLASSES - 1))
            loss = time_loss + PLACE_WEIGHT * place_loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        off = (told.classes.argmax(-1) - targets.argmax(-1)).abs().float().mean().item() * CLASS_MS
        for name, value in (("time", time_loss.item()), ("place", place_loss.item()), ("off_ms", off)):
            mean[name] += 0.02 * (value - mean[name])
        if step % 50 == 0:
            progress.set_postfix({name: f"{value:.3f}" for name, value in mean.items()})
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            state |= {"schedule": schedule.state_dict(), "step": step + 1, "seconds": time.monotonic() - started}
            torch.save(state, saved.with_suffix(".new"))
            saved.with_suffix(".new").replace(saved)
            save_aligner(model, tokenizer, run / "checkpoint")
