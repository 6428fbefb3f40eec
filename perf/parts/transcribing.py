"""A transcription by its engines alone, random weights in the true dimensions: what other work is compared with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from export.checkpoint import Checkpoint
from export.encoder.engines import EncoderEngine, open_engine
from export.encoder.onnx_export import example, export_encoder
from perf.models.random_checkpoint import write_checkpoint
from perf.models.random_model import SIZES, decoder_weights
from perf.parts.decoder_setting import TOKENS_PER_S, Setting
from perf.parts.decoder_setting import run as decode

# Full blocks of speech, and the language's name before the text.
BLOCK_S, LANGUAGE_TOKENS = 8, 4


class Transcribing:
    """Of `blocks` blocks of 8 s, ONNX Runtime's encoder and the decoder's engine in float32. A context manager."""

    def __init__(self, folder: Path, size: str, blocks: int, *, quick: bool) -> None:
        """folder: where the encoder is exported to."""
        self.seconds = blocks * BLOCK_S
        dimensions = SIZES[size]
        weights = decoder_weights(dimensions.decoder)
        self._setting = Setting(dimensions, torch.device("cpu"), torch.float32, quick, weights)
        self._engine = self._setting.engine()
        self._encode = encoding(encoder_of(folder, size), blocks)

    def __enter__(self) -> Transcribing:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.stop()

    @property
    def steps(self) -> dict[str, Callable[[], Any]]:
        """To be run one after the other."""
        tokens = LANGUAGE_TOKENS + TOKENS_PER_S * self.seconds
        return {
            "transcription_encoder": self._encode,
            "transcription_decoder": lambda: decode(self._engine, [self._setting.sequence(self.seconds, tokens)]),
        }


def encoder_of(folder: Path, size: str) -> EncoderEngine:
    """An encoder of a size, exported where it is not there yet."""
    checkpoint, path = folder / size, folder / f"{size}.onnx"
    if not path.is_file():
        write_checkpoint(checkpoint, size, "native")
        export_encoder(Checkpoint(checkpoint), path)
    return open_engine(str(path), Checkpoint(checkpoint))


def encoding(engine: EncoderEngine, blocks: int) -> Callable[[], Any]:
    """A run of it over full blocks."""
    mel, frames, clip_max = (one.numpy() for one in example(blocks, 800, seed=0))
    frames[:] = 800
    return lambda: engine.encode(mel, frames, clip_max)
