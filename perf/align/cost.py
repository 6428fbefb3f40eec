"""What aligning a clip costs beside transcribing it: the engines alone, random weights in the true dimensions."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from export.checkpoint import Checkpoint
from export.encoder.engines import EncoderEngine, open_engine
from export.encoder.onnx_export import example, export_encoder
from export.rooms import room
from perf.models.random_checkpoint import write_checkpoint
from perf.models.random_model import SIZES, decoder_weights
from perf.parts.decoder_setting import TOKENS_PER_S, Setting
from perf.parts.decoder_setting import run as decode

aligning, prompt = room("aligner", "aligning"), room("aligner", "prompt")
qwen3, quantization = room("decoder", "network.qwen3"), room("decoder", "network.quantization")
# Of a clip: full blocks of speech at the pace of conversation, and the language's name before the text.
BLOCKS, BLOCK_S, WORDS_PER_S, LANGUAGE_TOKENS = 2, 8, 2.5, 4
NUM_CLASSES = 5_000
ROWS_OF_BLOCK = 104


def cost(*, quick: bool) -> dict[str, float]:
    """align.cost_over_transcription: seconds of an alignment over those of a transcription of the same clip, alone on
    the machine, in turns; and of both the parts. ONNX Runtime's encoders, the decoder's and the aligner's engines."""
    sizes = ("small", "small") if quick else ("0.6b", "aligner")
    with tempfile.TemporaryDirectory() as name:
        encoders = [_encoder(Path(name), size) for size in sizes]
    seconds = BLOCKS * BLOCK_S
    dimensions = SIZES[sizes[0]]
    setting = Setting(dimensions, torch.device("cpu"), torch.float32, quick, decoder_weights(dimensions.decoder))
    engine = setting.engine()
    aligner = _aligner(sizes[1])
    clip = _clip(seconds, SIZES[sizes[1]].decoder.hidden_size)
    tokens = LANGUAGE_TOKENS + TOKENS_PER_S * seconds
    mel, frames, clip_max = (one.numpy() for one in example(BLOCKS, 800, seed=0))
    frames[:] = 800
    steps: dict[str, Callable[[], Any]] = {
        "transcription_encoder": lambda: encoders[0].encode(mel, frames, clip_max),
        "transcription_decoder": lambda: decode(engine, [setting.sequence(seconds, tokens)]),
        "encoder": lambda: encoders[1].encode(mel, frames, clip_max),
        "aligner": lambda: aligner.tell([clip]),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    try:
        for number in tqdm(range(3 if quick else 6), desc="cost", leave=False):
            for name, step in steps.items():
                started = time.perf_counter()
                step()
                if number:
                    times[name].append(time.perf_counter() - started)
    finally:
        engine.stop()
    spent = {name: np.array(one) for name, one in times.items()}
    ratios = (spent["encoder"] + spent["aligner"]) / (spent["transcription_encoder"] + spent["transcription_decoder"])
    return {
        "align.cost_over_transcription": float(np.median(ratios)),
        "align.cost_clip_s": seconds,
        **{f"align.{name}_s": float(np.median(one)) for name, one in spent.items()},
    }


def _encoder(folder: Path, size: str) -> EncoderEngine:
    checkpoint, path = folder / size, folder / f"{size}.onnx"
    if not path.is_file():
        write_checkpoint(checkpoint, size, "native")
        export_encoder(Checkpoint(checkpoint), path)
    return open_engine(str(path), Checkpoint(checkpoint))


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
