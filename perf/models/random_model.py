"""Random weights in the true dimensions: they stand in for speed where the real checkpoints are not at hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from export.encoder.block_encoder import BlockEncoder, EncoderConfig
from export.rooms import room

qwen3 = room("decoder", "network.qwen3")


@dataclass(frozen=True)
class Dimensions:
    """A decoder's and an encoder's configuration, and the MB of KV cache to measure with."""

    decoder: Any
    encoder: EncoderConfig
    kv_tokens: int


SIZES = {
    "0.6b": Dimensions(
        qwen3.Qwen3Config(
            vocab_size=151_936,
            hidden_size=1024,
            intermediate_size=3072,
            num_hidden_layers=28,
            num_attention_heads=16,
            num_key_value_heads=8,
            head_dim=128,
        ),
        EncoderConfig(
            num_mel_bins=128,
            encoder_layers=18,
            encoder_attention_heads=14,
            encoder_ffn_dim=3584,
            d_model=896,
            downsample_hidden_size=480,
            output_dim=1024,
        ),
        kv_tokens=16_384,
    ),
    "1.7b": Dimensions(
        qwen3.Qwen3Config(
            vocab_size=151_936,
            hidden_size=2048,
            intermediate_size=6144,
            num_hidden_layers=28,
            num_attention_heads=16,
            num_key_value_heads=8,
            head_dim=128,
        ),
        EncoderConfig(
            num_mel_bins=128,
            encoder_layers=24,
            encoder_attention_heads=16,
            encoder_ffn_dim=4096,
            d_model=1024,
            downsample_hidden_size=480,
            output_dim=2048,
        ),
        kv_tokens=16_384,
    ),
    "small": Dimensions(
        qwen3.Qwen3Config(
            vocab_size=1_000,
            hidden_size=256,
            intermediate_size=768,
            num_hidden_layers=6,
            num_attention_heads=8,
            num_key_value_heads=4,
            head_dim=32,
        ),
        EncoderConfig(
            num_mel_bins=128,
            encoder_layers=4,
            encoder_attention_heads=4,
            encoder_ffn_dim=512,
            d_model=256,
            downsample_hidden_size=64,
            output_dim=256,
        ),
        kv_tokens=16_384,
    ),
}
# Qwen3-ForcedAligner-0.6B: the smaller's language model behind an encoder as deep and wide as the larger's.
SIZES["aligner"] = replace(SIZES["0.6b"], encoder=replace(SIZES["1.7b"].encoder, output_dim=1024))


def decoder_weights(config: Any, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights by the short names that the decoder's loader gives."""
    generator = torch.Generator().manual_seed(seed)
    heads, kv_heads = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    hidden, wide = config.hidden_size, config.intermediate_size
    shapes = {"embed_tokens.weight": (config.vocab_size, hidden), "norm.weight": (hidden,)}
    for index in range(config.num_hidden_layers):
        for name, shape in {
            "input_layernorm": (hidden,),
            "post_attention_layernorm": (hidden,),
            "self_attn.q_proj": (heads, hidden),
            "self_attn.k_proj": (kv_heads, hidden),
            "self_attn.v_proj": (kv_heads, hidden),
            "self_attn.q_norm": (config.head_dim,),
            "self_attn.k_norm": (config.head_dim,),
            "self_attn.o_proj": (hidden, heads),
            "mlp.gate_proj": (wide, hidden),
            "mlp.up_proj": (wide, hidden),
            "mlp.down_proj": (hidden, wide),
        }.items():
            shapes[f"layers.{index}.{name}.weight"] = shape
    return {
        name: torch.ones(shape) if len(shape) == 1 else torch.randn(shape, generator=generator) * shape[1] ** -0.5
        for name, shape in shapes.items()
    }


def encoder(config: EncoderConfig, seed: int = 0) -> BlockEncoder:
    torch.manual_seed(seed)
    return BlockEncoder(config).eval()
