import pytest
import torch
from transformers.models.qwen3_asr import Qwen3ASRConfig, Qwen3ASREncoderConfig
from transformers.models.qwen3_asr.modeling_qwen3_asr import Qwen3ASREncoder, Qwen3ASRMultiModalProjector

from export.encoder.block_encoder import BLOCK_FRAMES, BlockEncoder, EncoderConfig, num_tokens

SMALL = {
    "encoder_layers": 3,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 96,
    "d_model": 64,
    "downsample_hidden_size": 12,
    "output_dim": 48,
}


@pytest.fixture(scope="module")
def native_and_ours():
    torch.manual_seed(0)
    native = Qwen3ASREncoder(Qwen3ASREncoderConfig(**SMALL)).eval()
    projector = Qwen3ASRMultiModalProjector(Qwen3ASRConfig(audio_config={"model_type": "qwen3_asr_encoder", **SMALL}))
    ours = BlockEncoder(EncoderConfig(num_mel_bins=128, **SMALL)).eval()
    ours.load_state_dict({**native.state_dict(), **projector.state_dict()})
    return native, projector.eval(), ours


def as_blocks(mel):
    """[128, frames] -> MEL, FRAMES, CLIP_MAX."""
    num_frames = mel.shape[1]
    count = -(-num_frames // BLOCK_FRAMES)
    # What lies past the valid frames must not matter.
    padded = torch.full((128, count * BLOCK_FRAMES), 7.0)
    padded[:, :num_frames] = mel
    frames = torch.tensor([[min(BLOCK_FRAMES, num_frames - i * BLOCK_FRAMES)] for i in range(count)], dtype=torch.int32)
    return padded.view(128, count, BLOCK_FRAMES).transpose(0, 1), frames, mel.max().expand(count, 1)


@pytest.mark.parametrize("num_frames", [1, 7, 8, 9, 50, 99, 100, 101, 108, 109, 799, 800, 801, 899, 900, 1601, 2043])
@torch.inference_mode()
def test_equals_the_native_encoder(native_and_ours, num_frames):
    native, projector, ours = native_and_ours
    mel = torch.randn(128, num_frames, generator=torch.Generator().manual_seed(num_frames)) * 3 - 3
    features = (torch.maximum(mel, mel.max() - 8) + 4) / 4
    padding = -num_frames % 100
    expected = projector(
        native(
            torch.nn.functional.pad(features, (0, padding))[None],
            torch.nn.functional.pad(torch.ones(1, num_frames, dtype=torch.long), (0, padding)),
        ).last_hidden_state
    )
    blocks, frames, clip_max = as_blocks(mel)
    embeddings = ours(blocks, frames, clip_max)
    counts = num_tokens(frames[:, 0]).tolist()
    rows = torch.cat([block[:count] for block, count in zip(embeddings, counts, strict=True)])
    assert rows.shape == expected.shape
    torch.testing.assert_close(rows, expected, atol=5e-6, rtol=0)
    assert all(not block[count:].any() for block, count in zip(embeddings, counts, strict=True))


@torch.inference_mode()
def test_a_short_block_gives_the_same_rows(native_and_ours):
    ours = native_and_ours[2]
    mel, frames, clip_max = as_blocks(torch.randn(128, 170) - 2)
    full = ours(mel, frames, clip_max)
    for length, rows in [(200, 26), (400, 52)]:
        short = ours(mel[:, :, :length], frames, clip_max)
        assert short.shape[1] == rows
        torch.testing.assert_close(short, full[:, :rows], atol=5e-6, rtol=0)


@torch.inference_mode()
def test_a_block_without_frames_is_zero_and_finite(native_and_ours):
    ours = native_and_ours[2]
    embeddings = ours(torch.randn(2, 128, 800), torch.tensor([[0], [800]], dtype=torch.int32), torch.zeros(2, 1))
    assert torch.isfinite(embeddings).all()
    assert not embeddings[0].any()
