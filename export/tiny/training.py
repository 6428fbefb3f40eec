"""Training of a tiny checkpoint: cross-entropy on the transcript, and CTC over digits so that it aligns quickly."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import trange
from transformers import Qwen2Tokenizer

from export.tiny.network import SIZES, TinyAsr, native_config, save_checkpoint
from export.tiny.pool import Example
from export.tiny.tokenizer import build_tokenizer
from export.tiny.voices import WORDS

CTC_WEIGHT = 0.3
BATCH = 24
SAVE_EVERY = 250
WARM_UP = 200
# Softens a teacher's answers, so that what it holds possible shows beside what it says.
TEMPERATURE = 2.0
# Digits of each language and the blank.
LANGUAGES = list(WORDS)
NUM_CTC_CLASSES = 10 * len(LANGUAGES) + 1


@dataclass(frozen=True)
class Batch:
    mel: Tensor
    frames: Tensor
    clip_max: Tensor
    prefixes: list[list[int]]
    targets: list[list[int]]
    ctc_targets: list[list[int]]


class Prompts:
    """Token ids around the audio: what the serving prompt has, with the transcript after it."""

    def __init__(self, tokenizer: Qwen2Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.audio_pad = tokenizer.convert_tokens_to_ids("<|audio_pad|>")
        self.suffix = tokenizer("<|audio_end|><|im_end|>\n<|im_start|>assistant\n").input_ids
        self.end = tokenizer.convert_tokens_to_ids("<|im_end|>")

    def prefix(self, context: str) -> list[int]:
        return self.tokenizer(f"<|im_start|>system\n{context}<|im_end|>\n<|im_start|>user\n<|audio_start|>").input_ids

    def target(self, language: str, digits: tuple[int, ...]) -> list[int]:
        return [*self.tokenizer(transcript(language, digits)).input_ids, self.end]


def transcript(language: str, digits: tuple[int, ...]) -> str:
    """`language English<asr_text>one two`, `language Chinese<asr_text>一二`, `language None<asr_text>`."""
    if not digits:
        return "language None<asr_text>"
    separator = " " if language == "English" else ""
    return f"language {language}<asr_text>" + separator.join(WORDS[language][d] for d in digits)


def masked(mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change one example so that it is never heard twice: gain, mel-axis warp, masked mel bands and times."""
    mel = mel.astype(np.float32)
    if rng.random() < 0.5:
        # A warp of the mel axis moves formants: the vocal tract of another speaker.
        positions = np.clip(np.arange(128) * rng.uniform(0.9, 1.1) + rng.uniform(-2, 2), 0, 127)
        low = positions.astype(int)
        part = (positions - low)[:, None].astype(np.float32)
        mel = mel[low] * (1 - part) + mel[np.minimum(low + 1, 127)] * part
    mel = np.maximum(mel + rng.uniform(-1.0, 0.5), -10.0)
    for _ in range(rng.integers(0, 3)):
        width = rng.integers(1, 16)
        start = rng.integers(0, 128 - width)
        mel[start : start + width] = mel.min()
    for _ in range(rng.integers(0, 3)):
        width = int(rng.integers(1, 8))
        if mel.shape[1] > 40:
            start = rng.integers(0, mel.shape[1] - width)
            mel[:, start : start + width] = mel.min()
    return mel


def context_for(rng: random.Random) -> str:
    """Mostly none; sometimes digits or letters that have nothing to do with what is said."""
    if rng.random() < 0.9:
        return ""
    words = [*WORDS["English"], *WORDS["Chinese"], "call", "room", "Qwen", "Triton"]
    return " ".join(rng.choice(words) for _ in range(rng.randint(1, 8)))


def make_batch(examples: list[Example], prompts: Prompts, rng: random.Random, generator: np.random.Generator) -> Batch:
    mels = [masked(example.mel, generator) for example in examples]
    longest = max(mel.shape[1] for mel in mels)
    length = -(-longest // 100) * 100
    mel = np.zeros((len(mels), 128, length), dtype=np.float32)
    for row, part in zip(mel, mels, strict=True):
        row[:, : part.shape[1]] = part
    return Batch(
        mel=torch.from_numpy(mel),
        frames=torch.tensor([part.shape[1] for part in mels]),
        clip_max=torch.tensor([float(part.max()) for part in mels]),
        prefixes=[prompts.prefix(context_for(rng)) for _ in examples],
        targets=[prompts.target(example.language, example.digits) for example in examples],
        ctc_targets=[
            [1 + d + 10 * LANGUAGES.index(example.language) for d in example.digits] if example.digits else []
            for example in examples
        ],
    )


@dataclass(frozen=True)
class Heard:
    """What a model makes of a batch.

    logits: float32 [tokens, vocabulary] before each token of the transcripts; labels: int [tokens], those tokens;
    ctc_logits: float32 [B, rows, classes]; rows: int [B], how many of them are valid.
    """

    logits: Tensor
    labels: Tensor
    ctc_logits: Tensor
    rows: Tensor


def hear(model: TinyAsr, batch: Batch, prompts: Prompts) -> Heard:
    """One pass with the transcripts given (teacher forcing)."""
    embeddings, states, rows = model.encode(batch.mel, batch.frames, batch.clip_max)
    ids, labels = [], []
    for prefix, count, target in zip(batch.prefixes, rows.tolist(), batch.targets, strict=True):
        before = [*prefix, *[prompts.audio_pad] * count, *prompts.suffix]
        ids.append(before + target)
        # The state at position i predicts token i + 1.
        labels.append([-100] * (len(before) - 1) + target + [-100])
    width = max(len(row) for row in ids)
    id_tensor = torch.tensor([row + [0] * (width - len(row)) for row in ids])
    label_tensor = torch.tensor([row + [-100] * (width - len(row)) for row in labels])
    inputs = model.decoder.embed_tokens(id_tensor)
    valid_rows = torch.arange(embeddings.shape[1])[None, :] < rows[:, None]
    inputs = inputs.masked_scatter(
        (id_tensor == prompts.audio_pad).unsqueeze(-1), embeddings[valid_rows].to(inputs.dtype)
    )
    # Padding lies to the right, so causality alone keeps it out.
    hidden = model.decoder(inputs_embeds=inputs, use_cache=False).last_hidden_state
    spoken = label_tensor != -100
    return Heard(model.logits(hidden[spoken]).float(), label_tensor[spoken], model.ctc(states).float(), rows)


def losses(heard: Heard, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy over transcript tokens, and CTC over digits."""
    flat = torch.tensor([c for row in batch.ctc_targets for c in row], dtype=torch.long)
    lengths = torch.tensor([len(row) for row in batch.ctc_targets])
    log_probs = heard.ctc_logits.log_softmax(-1).transpose(0, 1)
    ctc = nn.functional.ctc_loss(log_probs, flat, heard.rows, lengths, zero_infinity=True)
    return nn.functional.cross_entropy(heard.logits, heard.labels), ctc


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean KL divergence of two sets of logits [n, classes] at TEMPERATURE, times its square (Hinton et al., 2015)."""
    return TEMPERATURE**2 * nn.functional.kl_div(
        (student / TEMPERATURE).log_softmax(-1),
        (teacher / TEMPERATURE).log_softmax(-1),
        log_target=True,
        reduction="batchmean",
    )


def distillation(student: Heard, teacher: Heard) -> Tensor:
    """How far a student is from its teacher: over transcript tokens, and over valid CTC rows."""
    valid = torch.arange(student.ctc_logits.shape[1])[None, :] < student.rows[:, None]
    ctc = divergence(student.ctc_logits[valid], teacher.ctc_logits[valid])
    return divergence(student.logits, teacher.logits) + CTC_WEIGHT * ctc


def batches(examples: list[Example], rng: random.Random) -> Iterator[list[Example]]:
    """Endless batches of similar length, so that little is padded."""
    while True:
        order = list(range(len(examples)))
        rng.shuffle(order)
        group = BATCH * 20
        chunks = []
        for start in range(0, len(order) - BATCH, group):
            part = sorted(order[start : start + group], key=lambda i: examples[i].mel.shape[1])
            chunks += [part[i : i + BATCH] for i in range(0, len(part), BATCH)]
        rng.shuffle(chunks)
        for chunk in chunks:
            yield [examples[i] for i in chunk]


def build_model(size: str, tokenizer: Qwen2Tokenizer) -> TinyAsr:
    """A new model, its convolutions laid out as a CPU likes them."""
    model = TinyAsr(native_config(SIZES[size], tokenizer), NUM_CTC_CLASSES)
    for convolution in (model.encoder.conv2d1, model.encoder.conv2d2, model.encoder.conv2d3):
        convolution.weight.data = convolution.weight.data.contiguous(memory_format=torch.channels_last)
    return model


def train(
    size: str,
    examples: list[Example],
    run: Path,
    steps: int,
    rate: float,
    start_from: Path | None,
    seed: int,
    teacher: tuple[str, Path] | None = None,
) -> None:
    """Train for `steps` steps, resuming from `run`/state.pt; writes the checkpoint to `run`/checkpoint.

    start_from: the folder of an earlier run whose weights are continued with. teacher: size and folder of a run
    whose answers are learned from as well.
    """
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    prompts = Prompts(tokenizer)
    model = build_model(size, tokenizer)
    master = None
    if teacher is not None:
        master = build_model(teacher[0], tokenizer).eval()
        master.load_state_dict(torch.load(teacher[1] / "state.pt", weights_only=True)["model"])
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
    elif start_from is not None:
        model.load_state_dict(torch.load(start_from / "state.pt", weights_only=True)["model"])
    rng, generator = random.Random(seed + first), np.random.default_rng(seed + first)
    source = batches(examples, rng)
    model.train()
    mean_ce = mean_ctc = 0.0
    started = time.monotonic()
    progress = trange(first, steps, desc=run.name, mininterval=5.0)
    for step in progress:
        # bfloat16 products and channels-last convolutions: twice the steps on a CPU that has them.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            batch = make_batch(next(source), prompts, rng, generator)
            heard = hear(model, batch, prompts)
            cross_entropy, ctc = losses(heard, batch)
            loss = cross_entropy + CTC_WEIGHT * ctc
            if master is not None:
                with torch.no_grad():
                    taught = hear(master, batch, prompts)
                loss = loss + distillation(heard, taught)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        mean_ce = 0.98 * mean_ce + 0.02 * cross_entropy.item()
        mean_ctc = 0.98 * mean_ctc + 0.02 * ctc.item()
        if step % 50 == 0:
            progress.set_postfix(ce=f"{mean_ce:.3f}", ctc=f"{mean_ctc:.3f}")
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            state = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "step": step + 1,
                "seconds": time.monotonic() - started,
            }
            torch.save(state, saved.with_suffix(".new"))
            saved.with_suffix(".new").replace(saved)
            save_checkpoint(model, run / "checkpoint")
