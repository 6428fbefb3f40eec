"""What aligning a clip costs beside transcribing it: the engines alone, random weights in the true dimensions."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.rooms import room
from perf.models.random_model import SIZES, decoder_weights
from perf.parts.transcribing import BLOCK_S, Transcribing, encoder_of, encoding
from perf.parts.turns import in_turns

aligning, prompt = room("aligner", "aligning"), room("aligner", "prompt")
qwen3, quantization = room("decoder", "network.qwen3"), room("decoder", "network.quantization")
BLOCKS, WORDS_PER_S = 2, 2.5
NUM_CLASSES = 5_000
ROWS_OF_BLOCK = 104


def cost(*, quick: bool) -> dict[str, float]:
    """align.cost_over_transcription: seconds of an alignment over those of a transcription of the same clip, alone on
    the machine, in turns; and of both the parts. ONNX Runtime's encoders, the decoder's and the aligner's engines."""
    sizes = ("small", "small") if quick else ("0.6b", "aligner")
    with tempfile.TemporaryDirectory() as name, Transcribing(Path(name), sizes[0], BLOCKS, quick=quick) as other:
        aligner = _aligner(sizes[1])
        clip = _clip(other.seconds, SIZES[sizes[1]].decoder.hidden_size)
        own = {"encoder": encoding(encoder_of(Path(name), sizes[1]), BLOCKS), "aligner": lambda: aligner.tell([clip])}
        spent = in_turns({**other.steps, **own}, 2 if quick else 5, "cost")
    transcribed = sum(spent[step] for step in other.steps)
    return {
        "align.cost_over_transcription": float(np.median(sum(spent[step] for step in own) / transcribed)),
        "align.cost_clip_s": other.seconds,
        **{f"align.{step}_s": float(np.median(one)) for step, one in spent.items()},
    }


def _aligner(size: str) -> Any:
    config = SIZES[size].decoder
    weights = decoder_weights(config)
    weights["lm_head.weight"] = torch.randn(NUM_CLASSES, config.hidden_size) * config.hidden_size**-0.5
    quantize = quantization.quantizer("none", torch.device("cpu"))
    return aligning.Aligner(qwen3.Qwen3(config, weights, torch.device("cpu"), torch.float32, quantize))


def _clip(seconds: int, width: int) -> Any:
    """The sequence of so many seconds of speech: its embeddings, and words of a token and a third with their times."""
    words = int(WORDS_PER_S * seconds)
    rows = seconds // BLOCK_S * ROWS_OF_BLOCK
    ids = [1, *(-1 - row for row in range(rows)), 2]
    times = []
    for word in range(words):
        ids += [3] * (1 + (word % 3 == 0))
        times += [len(ids), len(ids) + 1]
        ids += [4, 4]
    sequence = prompt.Sequence(np.array(ids, dtype=np.int32), np.array(times))
    audio = np.random.default_rng(0).standard_normal((rows, width), dtype=np.float32) * 0.03
    return aligning.Clip(sequence, audio)
