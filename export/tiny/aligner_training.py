"""Training of the tiny aligner: first its encoder, by what each row of audio hears; then what tells the times."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm
from transformers import Qwen2Tokenizer

from export.tiny.aligner_data import batches, mel_batch, row_truth, soft_classes, word_tokens, words_begun
from export.tiny.aligner_network import (
    CLASS_MS,
    MOST_COUNTED,
    NUM_CLASSES,
    TinyAligner,
    aligner_config,
    aligner_tokenizer,
    save_aligner,
)
from export.tiny.aligner_run import Run
from export.tiny.timed_pool import TimedExample
from export.tiny.voices import WORDS

ENCODER_BATCH, ENCODER_RATE = 24, 1.5e-3
BATCH, RATE = 32, 2e-3
# Digits of each language and no word; and the three figures beside them (`aligner_data.row_truth`).
NUM_WORDS, NUM_EDGES = 1 + 10 * len(WORDS), 3
PLACE_WEIGHT, COUNT_WEIGHT = 0.3, 0.5
# Which word is which is learned by counting, and that on few words first.
FEW_WORDS, FEW_STEPS = 6, 1_200
# How often the encoder hears every clip, changed each time but the first; and the noise on what it made of it.
HEARD_TIMES = 3
NOISE = 0.05


class Hearing(nn.Module):
    """The aligner with a throw-away head over what a row of audio hears."""

    def __init__(self, aligner: TinyAligner) -> None:
        super().__init__()
        self.aligner = aligner
        self.head = nn.Linear(aligner.config.text_config.hidden_size, NUM_WORDS + NUM_EDGES)


def new_aligner() -> tuple[TinyAligner, Qwen2Tokenizer]:
    tokenizer = aligner_tokenizer()
    return TinyAligner(aligner_config(tokenizer), tokenizer), tokenizer


def train_encoder(examples: list[TimedExample], run: Path, steps: int, seed: int) -> None:
    """Train the encoder from nothing: which word each row is part of, and where in it words start and end."""
    torch.manual_seed(seed)
    model = Hearing(new_aligner()[0])
    parameters = [*model.aligner.asr.encoder.parameters(), *model.head.parameters()]
    training = Run(model, parameters, run, steps, ENCODER_RATE)
    generator = np.random.default_rng(seed + training.first)

    def losses(part: list[TimedExample]) -> tuple[Tensor, dict[str, float]]:
        mel, frames, clip_max, shifts = mel_batch(part, generator)
        heard = model.aligner.embed(mel, frames, clip_max)
        truth = [row_truth(one, shift, len(rows)) for one, shift, rows in zip(part, shifts, heard, strict=True)]
        words = torch.from_numpy(np.concatenate([word for word, _ in truth]))
        edges = torch.from_numpy(np.concatenate([edge for _, edge in truth]))
        told = model.head(torch.cat(heard)).float()
        word_loss = nn.functional.cross_entropy(told[:, :NUM_WORDS], words)
        edge_loss = nn.functional.binary_cross_entropy_with_logits(told[:, NUM_WORDS:], edges)
        right = (told[:, :NUM_WORDS].argmax(-1) == words)[words > 0].float().mean().item()
        return word_loss + edge_loss, {"word": word_loss.item(), "edge": edge_loss.item(), "right": right}

    rng = random.Random(seed + training.first)
    training.go(batches(examples, ENCODER_BATCH, lambda one: one.mel.shape[1], rng), losses)


@dataclass(frozen=True)
class Heard:
    """What the encoder made of a clip: rows float16 [rows, hidden]; its words' token ids, their times' classes, and how
    many words have begun by each row."""

    rows: NDArray[np.float16]
    words: list[list[int]]
    targets: Tensor
    begun: NDArray[np.int64]


def _heard(model: TinyAligner, tokenizer: Qwen2Tokenizer, examples: list[TimedExample], seed: int) -> list[Heard]:
    """Every clip HEARD_TIMES times: the encoder is done, so it need not hear them in every step."""
    generator = np.random.default_rng(seed)
    order = sorted(examples, key=lambda one: one.mel.shape[1])
    parts = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    made = []
    for number, part in tqdm([(n, p) for n in range(HEARD_TIMES) for p in parts], desc="hear", mininterval=20.0):
        mel, frames, clip_max, shifts = mel_batch(part, generator, change=number > 0)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            rows = model.embed(mel, frames, clip_max)
        for one, shift, clip in zip(part, shifts, rows, strict=True):
            words = word_tokens(tokenizer, one.language, one.digits)
            spans = one.spans + shift
            begun = words_begun(spans, len(clip)).clip(max=MOST_COUNTED - 1)
            made.append(Heard(clip.half().numpy().copy(), words, soft_classes(spans.ravel()), begun))
    return made


def train_times(examples: list[TimedExample], encoder: Path, run: Path, steps: int, seed: int) -> None:
    """Train what tells the times, on the encoder of `encoder`, which stays as it is; writes `run`/checkpoint."""
    torch.manual_seed(seed)
    model, tokenizer = new_aligner()
    hearing = Hearing(model)
    # The heads that the encoder's training did without are as new.
    known = torch.load(encoder / "state.pt", weights_only=True)["model"]
    hearing.load_state_dict({**hearing.state_dict(), **{k: v for k, v in known.items() if ".encoder." in k}})
    training = Run(model, (p for name, p in model.named_parameters() if "encoder" not in name), run, steps, RATE)
    clips = _heard(model.eval(), tokenizer, examples, seed)

    def losses(part: list[Heard]) -> tuple[Tensor, dict[str, float]]:
        rows = [torch.from_numpy(clip.rows).float() for clip in part]
        noise = NOISE * float(torch.cat(rows).std())
        told = model.tell([clip + noise * torch.randn_like(clip) for clip in rows], [clip.words for clip in part])
        targets = torch.cat([clip.targets for clip in part])
        places = torch.cat([torch.arange(len(clip)) for clip in rows]).clamp(max=NUM_CLASSES - 1)
        time_loss = nn.functional.cross_entropy(told.classes, targets)
        place_loss = nn.functional.cross_entropy(told.places, places)
        begun = torch.from_numpy(np.concatenate([clip.begun for clip in part]))
        count_loss = nn.functional.cross_entropy(told.counts, begun)
        off = (told.classes.argmax(-1) - targets.argmax(-1)).abs().float().mean().item() * CLASS_MS
        figures = {"time": time_loss, "place": place_loss, "count": count_loss}
        loss = time_loss + PLACE_WEIGHT * place_loss + COUNT_WEIGHT * count_loss
        return loss, {**{name: value.item() for name, value in figures.items()}, "off_ms": off}

    def length(clip: Heard) -> int:
        return len(clip.rows) + 4 * len(clip.words)

    rng = random.Random(seed + training.first)
    few = batches([clip for clip in clips if len(clip.words) <= FEW_WORDS], BATCH, length, rng)
    all_of_them = batches(clips, BATCH, length, rng)
    training.go(chain(islice(few, max(0, FEW_STEPS - training.first)), all_of_them), losses)
    save_aligner(model, tokenizer, run / "checkpoint")
