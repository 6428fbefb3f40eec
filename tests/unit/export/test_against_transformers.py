"""The serving path against transformers' own: same checkpoint, same sound, same tokens."""

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, Qwen3ASRForConditionalGeneration

from export.local import LocalAsr
from tests.conftest import TINY, TINY_FAST


@pytest.fixture(scope="module", params=[TINY, TINY_FAST], ids=["tiny", "tiny-fast"])
def folder(request):
    return request.param


@pytest.fixture(scope="module")
def reference(folder):
    model = Qwen3ASRForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    return AutoProcessor.from_pretrained(folder), model


@pytest.fixture(scope="module")
def local(folder):
    with LocalAsr(folder) as asr:
        yield asr


@torch.inference_mode()
def generate(reference, pcm, language=None):
    processor, model = reference
    inputs = processor.apply_transcription_request(
        pcm, language=language, processor_kwargs={"audio_kwargs": {"sampling_rate": 16_000}}
    )
    out = model.generate(**inputs, max_new_tokens=200, do_sample=False)
    ids = out[0, inputs["input_ids"].shape[1] :].tolist()
    return [token for token in ids if token not in (model.config.eos_token_id or ())], processor


def clips(english, chinese):
    noise = (np.random.default_rng(0).standard_normal(48_000) * 0.01).astype(np.float32)
    return {
        "english": english,
        "chinese": chinese,
        "both, several blocks": np.concatenate([english, chinese, english, chinese]),
        "cut in a word": english[:20_123],
        "short": english[8_000:13_000],
        "noise": noise,
        "silence": np.zeros(16_000, dtype=np.float32),
    }


def test_tokens_equal(reference, local, english, chinese):
    cases = clips(english, chinese)
    ours = local.transcribe(list(cases.values()))
    for (name, pcm), answer in zip(cases.items(), ours, strict=True):
        expected, processor = generate(reference, pcm)
        assert answer.token_ids == expected, name
        parsed = processor.decode(expected, return_format="parsed")
        assert (answer.language, answer.text) == (parsed["language"], parsed["transcription"])


@pytest.mark.parametrize("language", ["English", "Chinese"])
def test_tokens_equal_with_a_forced_language(reference, local, english, language):
    expected, _ = generate(reference, english, language)
    assert local.transcribe([english], language)[0].token_ids == expected


def test_the_recordings_say_what_they_say(local, english, chinese):
    heard = local.transcribe([english, chinese])
    assert heard[0].text == "four two seven nine zero one five"
    assert heard[1].text == "三八零二六"
    assert [one.language for one in heard] == ["English", "Chinese"]
