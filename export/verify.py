"""Two engines on the same speech: how far their embeddings are apart, and whether the same is heard."""

from __future__ import annotations

import time
from dataclasses import dataclass

import jiwer
import numpy as np
import torch
from numpy.typing import NDArray

from export.checkpoint import Checkpoint
from export.encoder.engines import EncoderEngine
from export.local import LocalAsr, Transcription
from export.rooms import room
from export.speech import Spoken

REPEATS = 3


@dataclass(frozen=True)
class Heard:
    """What an engine makes of all clips: their valid embeddings, the decoder's answers, seconds of all its runs."""

    embeddings: list[NDArray[np.float32]]
    answers: list[Transcription]
    seconds: float


@dataclass(frozen=True)
class Parity:
    """An engine against the reference.

    max_abs_diff, mean_abs_diff: of embeddings. cosine: smallest similarity of two embedding rows. token_agreement:
    share of the reference's tokens that are in the answer, in order (1 - edit distance / length). wer: of the texts
    against what was said, where that is known. speed: the reference's time over the engine's.
    """

    max_abs_diff: float
    mean_abs_diff: float
    cosine: float
    token_agreement: float
    wer: float | None
    speed: float


def hear(engine: EncoderEngine, asr: LocalAsr, speech: list[Spoken]) -> Heard:
    """Run every clip, every sample taken as speech, one after the other; the fastest of three runs counts."""
    blocks_of = room("features", "blocks").blocks_of
    num_tokens = room("decoder", "network.embeddings").num_tokens
    embeddings, seconds = [], 0.0
    for one in speech:
        blocks = blocks_of(one.pcm(), max_blocks=64)
        fastest = float("inf")
        for _ in range(REPEATS):
            started = time.perf_counter()
            rows = engine.encode(blocks.mel, blocks.frames, blocks.clip_max)
            fastest = min(fastest, time.perf_counter() - started)
        seconds += fastest
        counts = [num_tokens(int(count)) for count in blocks.frames[:, 0]]
        embeddings.append(np.concatenate([block[:count] for block, count in zip(rows, counts, strict=True)]))
    answers = asr.answers([torch.from_numpy(rows) for rows in embeddings])
    return Heard(embeddings, answers, seconds)


def compare(reference: Heard, other: Heard, speech: list[Spoken]) -> Parity:
    pairs = list(zip(reference.embeddings, other.embeddings, strict=True))
    differences = [np.abs(a - b) for a, b in pairs]
    return Parity(
        max_abs_diff=max(float(one.max(initial=0.0)) for one in differences),
        mean_abs_diff=float(np.mean([one.mean() for one in differences])),
        cosine=min(_cosine(a, b) for a, b in pairs),
        token_agreement=token_agreement(
            [one.token_ids for one in reference.answers], [one.token_ids for one in other.answers]
        ),
        wer=word_error_rate([one.text for one in speech], [one.text for one in other.answers]),
        speed=reference.seconds / other.seconds,
    )


def token_agreement(reference: list[list[int]], other: list[list[int]]) -> float:
    """1 - edit distance / length, over all answers."""
    measured = jiwer.process_words([_words(one) for one in reference], [_words(one) for one in other])
    return max(0.0, 1.0 - measured.wer)


def word_error_rate(references: list[str | None], texts: list[str]) -> float | None:
    """Over the clips whose words are known; None where there are none."""
    known = [(said, heard) for said, heard in zip(references, texts, strict=True) if said]
    if not known:
        return None
    return float(jiwer.wer([said.lower() for said, _ in known], [heard.lower() for _, heard in known]))


def parity_table(names: list[str], parities: list[Parity]) -> str:
    """One line for each engine."""
    head = f"{'engine':40}{'max diff':>10}{'mean diff':>11}{'cosine':>9}{'tokens':>9}{'WER':>8}{'speed':>8}"
    lines = [
        f"{name[-39:]:40}{one.max_abs_diff:10.1e}{one.mean_abs_diff:11.1e}{one.cosine:9.5f}"
        f"{100 * one.token_agreement:8.2f}%{'-' if one.wer is None else f'{100 * one.wer:.2f}%':>8}{one.speed:7.2f}x"
        for name, one in zip(names, parities, strict=True)
    ]
    return "\n".join([head, *lines])


def verify_engines(names: list[str], checkpoint: Checkpoint, speech: list[Spoken]) -> list[Parity]:
    """Every engine against the first."""
    from export.encoder.engines import open_engine

    with LocalAsr(checkpoint.folder) as asr:
        heard = [hear(open_engine(name, checkpoint), asr, speech) for name in names]
    return [compare(heard[0], one, speech) for one in heard]


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / np.maximum(norms, 1e-12)).min(initial=1.0))


def _words(ids: list[int]) -> str:
    return " ".join(map(str, ids))
