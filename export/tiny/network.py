"""The network that is trained: the block encoder of `export` before transformers' own Qwen3, in the native layout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import Qwen2Tokenizer, Qwen3ASRConfig
from transformers.models.qwen3 import Qwen3Model

from export.encoder.block_encoder import BLOCK_FRAMES, CHUNK_FRAMES, BlockEncoder, EncoderConfig, num_tokens
from export.tiny.tokenizer import save_processor


@dataclass(frozen=True)
class Size:
    """Dimensions of one tiny checkpoint."""

    encoder_layers: int
    encoder_width: int
    encoder_ffn: int
    conv_channels: int
    decoder_layers: int
    decoder_width: int
    decoder_ffn: int
    heads: int
    kv_heads: int


SIZES = {
    "tiny": Size(4, 128, 384, 24, 3, 128, 384, heads=4, kv_heads=2),
    "tiny-fast": Size(4, 96, 256, 16, 2, 96, 256, heads=3, kv_heads=1),
}
HEAD_DIM = 32


def native_config(size: Size, tokenizer: Qwen2Tokenizer) -> Qwen3ASRConfig:
    """The checkpoint's config.json, by transformers' native class."""
    token = tokenizer.convert_tokens_to_ids
    return Qwen3ASRConfig(
        audio_config={
            "model_type": "qwen3_asr_encoder",
            "encoder_layers": size.encoder_layers,
            "encoder_attention_heads": size.heads,
            "encoder_ffn_dim": size.encoder_ffn,
            "d_model": size.encoder_width,
            "downsample_hidden_size": size.conv_channels,
            "output_dim": size.decoder_width,
        },
        text_config={
            "model_type": "qwen3",
            "vocab_size": len(tokenizer),
            "hidden_size": size.decoder_width,
            "intermediate_size": size.decoder_ffn,
            "num_hidden_layers": size.decoder_layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.kv_heads,
            "head_dim": HEAD_DIM,
            "max_position_embeddings": 65536,
            "tie_word_embeddings": True,
        },
        audio_token_id=token("<|audio_pad|>"),
        timestamp_token_id=len(tokenizer),
        pad_token_id=token("<|im_end|>"),
        eos_token_id=[token("<|endoftext|>"), token("<|im_end|>")],
        architectures=["Qwen3ASRForConditionalGeneration"],
        dtype="float16",
    )


def encoder_config(config: Qwen3ASRConfig) -> EncoderConfig:
    audio = config.audio_config
    return EncoderConfig(
        num_mel_bins=audio.num_mel_bins,
        encoder_layers=audio.encoder_layers,
        encoder_attention_heads=audio.encoder_attention_heads,
        encoder_ffn_dim=audio.encoder_ffn_dim,
        d_model=audio.d_model,
        downsample_hidden_size=audio.downsample_hidden_size,
        output_dim=audio.output_dim,
    )


class TinyAsr(nn.Module):
    """Encoder, decoder, and a throw-away CTC head that only training uses."""

    def __init__(self, config: Qwen3ASRConfig, num_ctc_classes: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = BlockEncoder(encoder_config(config))
        self.decoder = Qwen3Model(config.text_config)
        self.ctc = nn.Linear(config.audio_config.d_model, num_ctc_classes)

    def encode(self, mel: Tensor, frames: Tensor, clip_max: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Clips in one call.

        mel: float32 [B, 128, T] with T a multiple of 100; frames: int [B]; clip_max: float32 [B].
        Returns projected embeddings [B, R, decoder width], hidden states [B, R, encoder width] and rows int [B].
        """
        batch, mels, length = mel.shape
        block = min(length, BLOCK_FRAMES)
        num_blocks = -(-length // block)
        mel = nn.functional.pad(mel, (0, num_blocks * block - length))
        blocks = mel.view(batch, mels, num_blocks, block).transpose(1, 2).reshape(batch * num_blocks, mels, block)
        starts = torch.arange(num_blocks) * block
        valid = (frames[:, None] - starts[None, :]).clamp(0, block).reshape(-1, 1).to(torch.int32)
        used = valid[:, 0] > 0
        maxima = clip_max[:, None].expand(-1, num_blocks).reshape(-1, 1)
        rows_of_block = block // CHUNK_FRAMES * 13
        states = mel.new_zeros(batch * num_blocks, rows_of_block, self.encoder.config.d_model)
        states[used] = self.encoder.hidden_states(blocks[used], valid[used], maxima[used]).to(states.dtype)
        states = states.view(batch, num_blocks * rows_of_block, -1)
        hidden = self.encoder.linear_2(nn.functional.gelu(self.encoder.linear_1(states)))
        return hidden, states, num_tokens(frames)

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden @ self.decoder.embed_tokens.weight.T


def native_state(model: TinyAsr) -> dict[str, Tensor]:
    """Weights by transformers' native names, float16; the head is tied to the embeddings and not stored."""
    state: dict[str, Tensor] = {}
    for name, value in model.encoder.state_dict().items():
        prefix = "model.multi_modal_projector." if name.startswith("linear_") else "model.audio_tower."
        state[prefix + name] = value
    for name, value in model.decoder.state_dict().items():
        state["model.language_model." + name] = value
    return {name: value.detach().to(torch.float16).contiguous() for name, value in state.items()}


def save_checkpoint(model: TinyAsr, folder: Path) -> None:
    """Write a complete checkpoint in the native layout."""
    folder.mkdir(parents=True, exist_ok=True)
    save_processor(folder)
    (folder / "config.json").write_text(
        json.dumps(json.loads(model.config.to_json_string(use_diff=False)), indent=2) + "\n"
    )
    save_file(native_state(model), folder / "model.safetensors", metadata={"format": "pt"})
