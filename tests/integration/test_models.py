"""Each room alone, over gRPC, by its contract."""

import asyncio

import numpy as np

from tests.integration.asking import infer, stream


async def test_vad_stream_equals_vad_clip(triton, english):
    whole = await infer(triton.url, "vad", PCM=english)
    state = np.zeros(320, dtype=np.float32)
    parts = []
    for start in range(0, english.size, 7_001):
        out = await infer(triton.url, "vad", PCM=english[start : start + 7_001], STATE=state)
        state = out["STATE"]
        parts.append(out["SPEECH_PROB"])
    streamed = np.concatenate(parts)
    np.testing.assert_allclose(streamed, whole["SPEECH_PROB"][: streamed.size], atol=1e-5)
    assert whole["SPEECH_PROB"].size == -(-english.size // 512)
    assert whole["SPEECH"].dtype == np.int32
    assert whole["SPEECH"].shape == (1, 2)


async def test_vad_off_takes_every_sample(triton):
    out = await infer(triton.url, "vad", {"vad": "off"}, PCM=np.zeros(1_000, dtype=np.float32))
    assert out["SPEECH"].tolist() == [[0, 1_000]]


async def test_features_of_no_speech_are_one_empty_block(triton):
    spans = np.zeros((0, 2), dtype=np.int32)
    out = await infer(triton.url, "features", PCM=np.zeros(16_000, dtype=np.float32), SPEECH=spans)
    assert out["MEL"].shape == (1, 128, 800)
    assert out["FRAMES"].tolist() == [[0]]


async def test_encoder_batches_of_mixed_lengths_equal_single_blocks(triton):
    rng = np.random.default_rng(0)

    def block(length):
        return {
            "MEL": rng.standard_normal((1, 128, length)).astype(np.float32) - 3,
            "FRAMES": np.array([[length - 30]], dtype=np.int32),
            "CLIP_MAX": np.ones((1, 1), dtype=np.float32),
        }

    blocks = [block(length) for length in (800, 200, 400, 800, 800, 200)]
    alone = [await infer(triton.url, "encoder", **one) for one in blocks]
    together = await asyncio.gather(*(infer(triton.url, "encoder", **one) for one in blocks))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one["EMBEDDINGS"], other["EMBEDDINGS"], atol=1e-5)


async def test_decoder_streams_from_the_encoders_rows(triton, english):
    spans = (await infer(triton.url, "vad", PCM=english))["SPEECH"]
    features = await infer(triton.url, "features", PCM=english, SPEECH=spans)
    rows = await infer(triton.url, "encoder", **features)
    responses = await stream(triton.url, "decoder", EMBEDDINGS=rows["EMBEDDINGS"], FRAMES=features["FRAMES"])
    assert b"".join(one["TEXT"][0] for one in responses) == b"four two seven nine zero one five"
