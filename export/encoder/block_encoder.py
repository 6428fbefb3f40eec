"""The audio encoder as a pure function of one block: the module that is exported, and the one the tiny model trains.

Qwen3-ASR's encoder attends inside windows of 800 mel frames and convolves inside chunks of 100, so a block of 800
frames is all it ever sees. Written as a fixed-shape graph over a batch of blocks, it equals the native encoder of
`transformers` (`Qwen3ASREncoder` and its projector) on every valid row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

CHUNK_FRAMES = 100
CHUNK_TOKENS = 13
BLOCK_FRAMES = 800
# Whisper's clamp and scaling: max(mel, clip maximum - 8), then (x + 4) / 4.
DYNAMIC_RANGE = 8.0
# Finite, so that a block of no valid frames gives numbers and not NaN.
MASKED = -1e9


@dataclass(frozen=True)
class EncoderConfig:
    """Dimensions of the audio encoder, by the names of the checkpoint's `audio_config`."""

    num_mel_bins: int
    encoder_layers: int
    encoder_attention_heads: int
    encoder_ffn_dim: int
    d_model: int
    downsample_hidden_size: int
    output_dim: int


def num_tokens(frames: Tensor) -> Tensor:
    """Embedding rows of `frames` mel frames: 13 for each full chunk of 100, and ceil(rest / 8) for the rest."""
    rest = frames % CHUNK_FRAMES
    return frames // CHUNK_FRAMES * CHUNK_TOKENS + (rest + 7) // 8


def sinusoids(length: int, channels: int) -> Tensor:
    """Whisper's sinusoidal positions: float32 [length, channels]."""
    half = channels // 2
    scales = torch.exp(-torch.arange(half, dtype=torch.float32) * (torch.log(torch.tensor(10_000.0)) / (half - 1)))
    angles = torch.arange(length, dtype=torch.float32)[:, None] * scales[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Attention(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.num_heads = config.encoder_attention_heads
        self.head_dim = config.d_model // config.encoder_attention_heads
        self.q_proj = nn.Linear(config.d_model, config.d_model)
        self.k_proj = nn.Linear(config.d_model, config.d_model)
        self.v_proj = nn.Linear(config.d_model, config.d_model)
        self.out_proj = nn.Linear(config.d_model, config.d_model)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        rows = x.shape[1]
        shape = (-1, rows, self.num_heads, self.head_dim)
        query = self.q_proj(x).view(shape).transpose(1, 2) * self.head_dim**-0.5
        key = self.k_proj(x).view(shape).transpose(1, 2)
        value = self.v_proj(x).view(shape).transpose(1, 2)
        # The sum and the softmax in float32: half precision has no room for the mask, and too few digits for the tails.
        weights = functional.softmax((query @ key.transpose(2, 3)).float() + bias, dim=-1).to(value.dtype)
        return self.out_proj((weights @ value).transpose(1, 2).reshape(-1, rows, self.num_heads * self.head_dim))


class Layer(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.d_model)
        self.fc1 = nn.Linear(config.d_model, config.encoder_ffn_dim)
        self.fc2 = nn.Linear(config.encoder_ffn_dim, config.d_model)
        self.final_layer_norm = nn.LayerNorm(config.d_model)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x, bias and the result float32, whatever the products are computed in: the sum over layers grows beyond
        what float16 holds."""
        dtype = self.fc1.weight.dtype
        x = x + self.self_attn(self.self_attn_layer_norm(x).to(dtype), bias).float()
        hidden = functional.gelu(self.fc1(self.final_layer_norm(x).to(dtype)))
        return x + self.fc2(hidden).float()


class BlockEncoder(nn.Module):
    """Encoder and projector over a batch of blocks; parameter names are the native checkpoint's.

    Inputs and outputs are float32. `in_precision` makes the convolutions and products half precision; the mel clamp,
    normalizations, softmax and the sum over layers stay float32.
    """

    positions: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        channels = config.downsample_hidden_size
        # Three convolutions of stride 2 leave ceil(mels / 8) rows of each channel.
        mel_rows = (config.num_mel_bins + 7) // 8
        self.config = config
        self.conv2d1 = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.conv2d2 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.conv2d3 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.conv_out = nn.Linear(channels * mel_rows, config.d_model, bias=False)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.encoder_layers)])
        self.ln_post = nn.LayerNorm(config.d_model)
        self.linear_1 = nn.Linear(config.d_model, config.d_model)
        self.linear_2 = nn.Linear(config.d_model, config.output_dim)
        self.register_buffer("positions", sinusoids(CHUNK_TOKENS, config.d_model), persistent=False)

    def in_precision(self, dtype: torch.dtype) -> BlockEncoder:
        """Convert in place: float32, float16 or bfloat16."""
        positions = self.positions
        self.to(dtype)
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.float()
        self.positions = positions
        return self

    def forward(self, mel: Tensor, frames: Tensor, clip_max: Tensor) -> Tensor:
        """Embeddings of a batch of blocks.

        mel: float32 [N, 128, T], log10 mel power, not clamped; T a multiple of 100, at most 800.
        frames: int32 [N, 1], valid frames of each block, 0 to T.
        clip_max: float32 [N, 1], the maximum of the log10 mel power over the block's whole clip.
        Returns float32 [N, 13 T / 100, output_dim]; rows past `num_tokens(frames)` are zero.
        """
        hidden = self.hidden_states(mel, frames, clip_max).to(self.linear_1.weight.dtype)
        hidden = self.linear_2(functional.gelu(self.linear_1(hidden))).float()
        rows = torch.arange(hidden.shape[1], device=mel.device)
        return hidden * (rows[None, :] < num_tokens(frames)).unsqueeze(-1).to(hidden.dtype)

    def hidden_states(self, mel: Tensor, frames: Tensor, clip_max: Tensor) -> Tensor:
        """What the projector is given: float32 [N, 13 T / 100, d_model]."""
        num_mels, num_frames = mel.shape[1], mel.shape[2]
        num_chunks = num_frames // CHUNK_FRAMES
        valid = torch.arange(num_frames, device=mel.device)[None, :] < frames
        x = (torch.maximum(mel, clip_max.unsqueeze(-1) - DYNAMIC_RANGE) + 4.0) / 4.0
        # The native model pads the last chunk with zeros after the scaling.
        x = x * valid.unsqueeze(1).to(x.dtype)
        x = x.view(-1, num_mels, num_chunks, CHUNK_FRAMES).transpose(1, 2).reshape(-1, 1, num_mels, CHUNK_FRAMES)
        x = x.to(self.conv2d1.weight.dtype)
        x = functional.gelu(self.conv2d1(x))
        x = functional.gelu(self.conv2d2(x))
        x = functional.gelu(self.conv2d3(x))
        x = x.permute(0, 3, 1, 2).flatten(2)
        x = self.conv_out(x).float() + self.positions
        x = x.reshape(-1, num_chunks * CHUNK_TOKENS, self.config.d_model)
        rows = torch.arange(num_chunks * CHUNK_TOKENS, device=mel.device)
        bias = torch.where(rows[None, :] < num_tokens(frames), 0.0, MASKED)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, bias)
        return self.ln_post(x)
