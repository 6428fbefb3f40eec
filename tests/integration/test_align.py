"""Word times by the real Triton: the ensemble `align`, and the aligner by itself."""

import asyncio

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, Qwen3ASRForTokenClassification
from tritonclient.utils import InferenceServerException

from frontend.triton.alignment import aligned
from frontend.triton.client import TritonRefused
from tests.conftest import TINY_ALIGNER
from tests.integration.asking import infer

ENGLISH = "four two, seven nine zero one five."
OFF = {"vad": "off"}


def text(value):
    return np.array([value.encode()], dtype=np.object_)


async def test_every_word_has_its_times_in_order(client, english, chinese):
    for pcm, said, language in ((english, ENGLISH, "English"), (chinese, "三八零二六", "zh"), (english, ENGLISH, None)):
        words = await aligned(client, pcm, said, language=language)
        assert "".join(word.text for word in words) == said
        assert len(words) == (5 if "三" in said else 7)
        times = [time for word in words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert times[0] > 0.2
        assert times[-1] <= pcm.size / 16_000
        assert all(0 < word.confidence <= 1 for word in words)


async def test_silence_around_speech_moves_its_words_and_nothing_else(client, english):
    words = await aligned(client, english, ENGLISH)
    quiet = np.zeros(160_000, dtype=np.float32)
    later = await aligned(client, np.concatenate([quiet, english, quiet]), ENGLISH)
    for word, moved in zip(words, later, strict=True):
        # Tiny's aligner is a class or a few off on its own, wherever in the clip a word is.
        assert moved.start - word.start == pytest.approx(10, abs=0.5)
        assert moved.end - word.end == pytest.approx(10, abs=0.5)


async def test_words_and_times_are_transformers(triton, english, chinese):
    """The whole way, against the checkpoint's own processor and network."""
    model = Qwen3ASRForTokenClassification.from_pretrained(TINY_ALIGNER, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(TINY_ALIGNER)
    token = model.config.timestamp_token_id
    for pcm, said, language in ((english, ENGLISH, "English"), (chinese, "三八零二六", "Chinese")):
        inputs, words = processor.prepare_forced_aligner_inputs(pcm, said, language)
        with torch.inference_mode():
            logits = model(**inputs).logits
        (expected,) = processor.decode_forced_alignment(logits, inputs["input_ids"], words, token)
        told = await infer(triton.url, "align", OFF, PCM=pcm, TEXT=text(said), LANGUAGE=text(language))
        assert [word.decode() for word in told["WORDS"]] == words[0]
        spans = [[round(16_000 * one["start_time"]), round(16_000 * one["end_time"])] for one in expected]
        assert told["SPANS"].tolist() == np.minimum(spans, pcm.size // 160 * 160).tolist()


async def test_clips_of_one_pass_are_told_as_each_alone(triton, english, chinese):
    asked = [(english, ENGLISH), (chinese, "三八零二六"), (english[24_000:], "seven nine"), (english, "one")]
    alone = [await infer(triton.url, "align", OFF, PCM=pcm, TEXT=text(said)) for pcm, said in asked]
    together = await asyncio.gather(
        *(infer(triton.url, "align", OFF, PCM=pcm, TEXT=text(said)) for _ in range(8) for pcm, said in asked)
    )
    for place, found in enumerate(together):
        expected = alone[place % len(asked)]
        assert found["WORDS"].tolist() == expected["WORDS"].tolist()
        np.testing.assert_array_equal(found["SPANS"], expected["SPANS"])
        np.testing.assert_allclose(found["CONFIDENCE"], expected["CONFIDENCE"], atol=1e-4)


async def test_no_words_and_no_speech_are_no_mistake(triton, english):
    for pcm, said in ((english, ""), (english, " ... "), (np.zeros(32_000, dtype=np.float32), "")):
        told = await infer(triton.url, "align", PCM=pcm, TEXT=text(said))
        assert told["WORDS"].size == told["WRITTEN"].size == told["CONFIDENCE"].size == 0
        assert told["SPANS"].shape == (0, 2)


@pytest.mark.parametrize(
    ("inputs", "parameters", "message"),
    [
        ({"TEXT": "one"}, OFF, "PCM is missing"),
        ({"PCM": 1.0}, OFF, "TEXT is missing"),
        ({"PCM": 1.0, "TEXT": "one", "LANGUAGE": "Klingon"}, OFF, "unknown language 'Klingon'"),
        ({"PCM": 1.0, "TEXT": "one", "LANGUAGE": "ar"}, OFF, "the aligner does not know Arabic"),
        ({"PCM": 1.0, "TEXT": "one " * 60}, OFF, "TEXT has 60 words, more than anybody says in 1 s"),
        ({"PCM": 40.0, "TEXT": "one"}, OFF, "the clip has 40 s of speech; this aligner takes up to 30.72"),
        ({"PCM": 1.0, "TEXT": "x" * 20_001}, OFF, "TEXT has 20001 characters; 20000 are the most"),
        ({"PCM": 1.0, "TEXT": "x" * 20_000}, OFF, r"TEXT and audio make 20\d+ rows; 12288 are the most"),
        ({"PCM": 1.0, "TEXT": "one"}, {**OFF, "priority_level": 4}, "priority_level must be one of"),
        ({"PCM": float("nan"), "TEXT": "one"}, OFF, "PCM holds NaN or infinity"),
    ],
)
async def test_a_mistake_is_told_and_harms_nobody(triton, client, english, inputs, parameters, message):
    beside = asyncio.create_task(aligned(client, english, ENGLISH))
    made = {
        name: text(value)
        if isinstance(value, str)
        else np.full(int((value if value == value else 1) * 16_000), 0.1 if value == value else value, np.float32)
        for name, value in inputs.items()
    }
    with pytest.raises(InferenceServerException, match=message) as raised:
        await asyncio.wait_for(infer(triton.url, "align", parameters, **made), 20)
    assert "INVALID_ARGUMENT" in str(raised.value)
    assert len(await beside) == 7


async def test_a_text_that_is_not_utf8_is_refused(triton, english):
    with pytest.raises(InferenceServerException, match="TEXT is not UTF-8"):
        await infer(triton.url, "align", OFF, PCM=english, TEXT=np.array([b"\xff\xfe"], dtype=np.object_))


async def test_the_frontend_knows_whose_fault_it_was(client, english):
    with pytest.raises(TritonRefused) as raised:
        await aligned(client, english, "one", language="Arabic")
    assert raised.value.invalid


async def test_the_aligner_takes_embeddings_alone(triton):
    """Without spans the clip begins with the first embedding."""
    rows = np.random.default_rng(0).standard_normal((1, 104, 128)).astype(np.float32)
    told = await infer(
        triton.url, "aligner", EMBEDDINGS=rows, FRAMES=np.array([[400]], dtype=np.int32), TEXT=text("one two")
    )
    assert told["WORDS"].tolist() == [b"one", b"two"]
    assert 0 <= told["SPANS"].min() <= told["SPANS"].max() <= 64_000
    with pytest.raises(InferenceServerException, match="EMBEDDINGS has width 64; this network takes 128"):
        await infer(
            triton.url, "aligner", EMBEDDINGS=rows[..., :64], FRAMES=np.array([[400]], dtype=np.int32), TEXT=text("one")
        )
