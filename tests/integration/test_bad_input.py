"""Every mistake gets its own clear error at once, and nothing else suffers."""

import asyncio
import time

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from frontend.triton.client import TritonRefused, TritonUnavailable
from tests.integration.asking import infer, stream, strings, text

SECOND = np.zeros(16_000, dtype=np.float32)


def broken(value):
    pcm = SECOND.copy()
    pcm[7_000] = value
    return pcm


@pytest.mark.parametrize(
    ("pcm", "options", "message"),
    [
        (SECOND[:0], {}, "PCM is empty"),
        (broken(np.nan), {}, "NaN or infinity"),
        (broken(np.inf), {}, "NaN or infinity"),
        (broken(np.nan), {"parameters": {"vad": "off"}}, "NaN or infinity"),
        (np.zeros(513 * 16_000, dtype=np.float32), {"parameters": {"vad": "off"}}, "512 s are the most"),
        (SECOND, {"parameters": {"threshold": "2.0"}}, "threshold must lie between 0.01 and 0.99"),
        (SECOND, {"parameters": {"threshold": "loud"}}, "threshold must be a number"),
        (SECOND, {"language": "Klingon"}, "unknown language 'Klingon'"),
        (SECOND, {"context": "word " * 5000}, "CONTEXT has more than"),
        (SECOND, {"parameters": {"priority_level": 7}}, "priority_level must be one of"),
        (SECOND, {"parameters": {"temperature": 3.0}}, "temperature must lie between"),
        (SECOND, {"parameters": {"max_new_tokens": 0}}, "max_new_tokens must be at least 1"),
        (SECOND, {"parameters": {"max_new_tokens": float("inf")}}, "max_new_tokens must be a whole number"),
        (SECOND, {"parameters": {"max_new_tokens": "many"}}, "max_new_tokens must be a whole number, not 'many'"),
        (SECOND, {"parameters": {"seed": 1.5}}, "seed must be a whole number"),
        (SECOND, {"parameters": {"temperature": "warm"}}, "temperature must be a number, not 'warm'"),
        (SECOND, {"parameters": {"temperature": float("nan")}}, "temperature must lie between"),
        (SECOND, {"parameters": {"repetition_guard": "maybe"}}, "repetition_guard must be true or false"),
        (SECOND, {"parameters": {"session": 7}}, "session must be text"),
        (SECOND, {"parameters": {"cancel": "x" * 300}}, "cancel has 300 characters; 256 are the most"),
        (SECOND, {"parameters": {"speech_pad_ms": 1e30}}, "speech_pad_ms must lie between 0 and 600000"),
        (SECOND, {"parameters": {"left_context": float("inf")}}, "left_context must be a whole number of samples"),
        (SECOND, {"parameters": {"vad": "off", "max_new_tokens": 6_721}}, "max_new_tokens must be at most 6720"),
    ],
)
async def test_the_ensemble_refuses(client, english, pcm, options, message):
    good = asyncio.create_task(text(client, english))
    started = time.monotonic()
    with pytest.raises(TritonRefused, match=message) as caught:
        await text(client, pcm, **options)
    assert time.monotonic() - started < 20
    assert caught.value.invalid, caught.value
    assert await good == "four two seven nine zero one five"


async def test_a_model_that_is_not_there_is_not_available(client):
    """It may be on its way: models are loaded again where they are lost."""
    with pytest.raises(TritonUnavailable, match="unknown model: 'nothing'"):
        await text(client, SECOND, model="nothing")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"PCM": SECOND.astype(np.float64)}, "FP64"),
        ({"PCM": (SECOND * 32767).astype(np.int16)}, "INT16"),
        ({"PCM": SECOND.reshape(2, -1)}, "unexpected shape"),
        ({}, "PCM is missing"),
        # Triton counts inputs and does not look which they are; it would wait for this one for ever.
        ({"LANGUAGE": strings("en")}, "PCM is missing"),
        ({"PCM": SECOND, "OTHER": SECOND}, "OTHER|expected"),
        ({"PCM": SECOND, "LANGUAGE": strings("English", "French")}, "unexpected shape"),
        ({"PCM": SECOND, "LANGUAGE": strings(b"\xff\xfe")}, "LANGUAGE is not UTF-8"),
        ({"PCM": SECOND, "CONTEXT": strings(b"\xff")}, "CONTEXT is not UTF-8"),
    ],
)
async def test_tensors_that_do_not_fit_are_refused(triton, inputs, message):
    with pytest.raises(InferenceServerException, match=message):
        await stream(triton.url, "asr", **inputs)


def embeddings(blocks=1, rows=104, width=128):
    return np.zeros((blocks, rows, width), dtype=np.float32)


@pytest.mark.parametrize(
    ("value", "frames", "message"),
    [
        (embeddings(width=64), [[800]], "has width 64; this network takes 128"),
        (embeddings(blocks=2), [[800]], "EMBEDDINGS has 2 blocks, FRAMES 1"),
        (embeddings(), [[801]], "FRAMES must lie within 0"),
        (embeddings(rows=26), [[300]], "FRAMES must lie within 0"),
        (embeddings(), [[-1]], "FRAMES must lie within 0"),
        (embeddings() * np.nan, [[800]], "EMBEDDINGS holds NaN"),
    ],
)
async def test_the_decoder_refuses(triton, value, frames, message):
    with pytest.raises(InferenceServerException, match=message):
        await stream(triton.url, "decoder", EMBEDDINGS=value, FRAMES=np.array(frames, dtype=np.int32))


async def test_the_decoder_takes_no_more_blocks_than_rows(triton):
    responses = await stream(
        triton.url, "decoder", EMBEDDINGS=embeddings(rows=0), FRAMES=np.zeros((1, 1), dtype=np.int32)
    )
    assert responses[-1]["FINAL"][0]


def mel(length=800, blocks=1):
    return {
        "MEL": np.zeros((blocks, 128, length), dtype=np.float32),
        "FRAMES": np.full((blocks, 1), length, dtype=np.int32),
        "CLIP_MAX": np.zeros((blocks, 1), dtype=np.float32),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (mel(150), "MEL has 150 frames"),
        (mel(900), "MEL has 900 frames"),
        ({**mel(), "FRAMES": np.array([[801]], dtype=np.int32)}, "FRAMES must lie within 0 and 800"),
        ({**mel(), "CLIP_MAX": np.array([[np.nan]], dtype=np.float32)}, "must be finite"),
        (mel(blocks=65), "batch-size must be <= 64"),
    ],
)
async def test_the_encoder_refuses_and_its_batch_goes_on(triton, change, message):
    good = [asyncio.create_task(infer(triton.url, "encoder", **mel(blocks=3))) for _ in range(4)]
    with pytest.raises(InferenceServerException, match=message):
        await infer(triton.url, "encoder", **change)
    for one in await asyncio.gather(*good):
        assert one["EMBEDDINGS"].shape == (3, 104, 128)


async def test_the_decoder_misses_its_inputs(triton):
    with pytest.raises(InferenceServerException, match="FRAMES is missing"):
        await stream(triton.url, "decoder", EMBEDDINGS=embeddings(), LANGUAGE=strings("en"))


async def test_the_features_refuse_bad_spans(triton):
    with pytest.raises(InferenceServerException, match="SPEECH must be ordered spans"):
        await infer(triton.url, "features", PCM=SECOND, SPEECH=np.array([[0, 99_999]], dtype=np.int32))


async def test_the_vad_misses_its_samples(triton):
    with pytest.raises(InferenceServerException, match="PCM is missing"):
        await infer(triton.url, "vad", STATE=np.zeros(320, dtype=np.float32))


async def test_the_vad_refuses_a_foreign_state(triton):
    with pytest.raises(InferenceServerException, match="STATE is not what vad returned"):
        await infer(triton.url, "vad", PCM=SECOND, STATE=np.zeros(7, dtype=np.float32))
