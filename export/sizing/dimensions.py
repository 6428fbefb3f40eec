"""Dimensions of a checkpoint, and what follows from them: weights, keys and values, activations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from export.errors import ExportError

# What the convolutions see of a chunk of 100 frames of 128 mels, after a stride of 2: rows times columns.
FIRST_MAP = 64 * 50
CHUNK_FRAMES, CHUNK_TOKENS = 100, 13


@dataclass(frozen=True)
class Decoder:
    """By the names of a checkpoint's text_config."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int

    @property
    def num_weights(self) -> int:
        """With tied embeddings, as both published checkpoints have them; norms are left out."""
        width, heads, kept = self.hidden_size, self.num_attention_heads, self.num_key_value_heads
        attention = width * self.head_dim * (2 * heads + 2 * kept)
        return self.vocab_size * width + self.num_hidden_layers * (attention + 3 * width * self.intermediate_size)

    @property
    def values_per_token(self) -> int:
        """Numbers of one token in the KV cache."""
        return 2 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim


@dataclass(frozen=True)
class Encoder:
    """By the names of a checkpoint's audio_config."""

    encoder_layers: int
    d_model: int
    encoder_ffn_dim: int
    downsample_hidden_size: int
    output_dim: int

    @property
    def num_weights(self) -> int:
        """Without biases and norms."""
        channels, width = self.downsample_hidden_size, self.d_model
        convolutions = 9 * channels * (1 + 2 * channels) + 16 * channels * width
        layers = self.encoder_layers * (4 * width * width + 2 * width * self.encoder_ffn_dim)
        return convolutions + layers + width * (width + self.output_dim)

    def activations(self, blocks: int, frames: int, itemsize: int) -> int:
        """Bytes that are alive at once in a run, at their most: what the first convolution gives, and the same behind
        its GELU. No other two neighbours of the graph are as large; an engine that fuses them holds half of it."""
        return 2 * blocks * (frames // CHUNK_FRAMES) * self.downsample_hidden_size * FIRST_MAP * itemsize

    def edges(self, blocks: int, frames: int) -> int:
        """Bytes of a run's inputs and outputs, float32."""
        return 4 * blocks * (128 * frames + frames // CHUNK_FRAMES * CHUNK_TOKENS * self.output_dim)


@dataclass(frozen=True)
class Checkpoint:
    name: str
    decoder: Decoder
    encoder: Encoder


SIZES = {
    "0.6b": Checkpoint("0.6b", Decoder(151_936, 1024, 3072, 28, 16, 8, 128), Encoder(18, 896, 3584, 480, 1024)),
    "1.7b": Checkpoint("1.7b", Decoder(151_936, 2048, 6144, 28, 16, 8, 128), Encoder(24, 1024, 4096, 480, 2048)),
}

# Qwen3-ForcedAligner-0.6B: the smaller's language model behind an encoder as deep and wide as the larger's. Its head is
# over thousands of classes of time.
ALIGNERS = {"0.6b": Checkpoint("aligner", SIZES["0.6b"].decoder, Encoder(24, 1024, 4096, 480, 1024))}


def read_dimensions(folder: Path, name: str) -> Checkpoint:
    """Those of an exported checkpoint's config.json, in either layout. Raises ExportError where there is none."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        model = config.get("thinker_config", config)
        text, audio = model["text_config"], model["audio_config"]
        return Checkpoint(
            name,
            Decoder(**{one: int(text[one]) for one in Decoder.__dataclass_fields__}),
            Encoder(**{one: int(audio[one]) for one in Encoder.__dataclass_fields__}),
        )
    except FileNotFoundError as error:
        raise ExportError(f"no checkpoint is exported to {folder}: export one, or name a size") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ExportError(f"{path} does not say its dimensions: {error!r}") from error
