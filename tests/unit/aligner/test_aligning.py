"""The pass of the network, against transformers on the same checkpoint; and the prompt that it reads."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor, Qwen3ASRForTokenClassification

from export.aligner import export_aligner, facts_of
from export.checkpoint import Checkpoint, original_config, original_name
from export.errors import ExportError
from export.rooms import room
from tests.conftest import TINY, TINY_ALIGNER, WORDS

aligning, prompt_room = room("aligner", "aligning"), room("aligner", "prompt")
files, embeddings = room("aligner", "checkpoint_files"), room("decoder", "network.embeddings")
parameters = room("aligner", "parameters").Parameters


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("aligner")
    export_aligner(Checkpoint(TINY_ALIGNER), folder / "checkpoint")
    return folder


@pytest.fixture(scope="module")
def loaded(exported):
    threads = torch.get_num_threads()
    yield files.load(parameters(), exported)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def encoder():
    return Checkpoint(TINY_ALIGNER).block_encoder()


@pytest.fixture(scope="module")
def reference():
    model = Qwen3ASRForTokenClassification.from_pretrained(TINY_ALIGNER, dtype=torch.float32)
    return model.eval(), AutoProcessor.from_pretrained(TINY_ALIGNER)


@torch.inference_mode()
def clip_of(loaded, encoder, pcm, words):
    blocks = room("features", "blocks").blocks_of(pcm, max_blocks=64)
    heard = encoder(*(torch.from_numpy(part) for part in (blocks.mel, blocks.frames, blocks.clip_max))).numpy()
    audio = embeddings.checked_audio(heard, blocks.frames, loaded.network.config.hidden_size)
    return aligning.Clip(loaded.prompts.build(words, audio.num_rows), audio.rows)


@torch.inference_mode()
def classes_of(reference, pcm, words):
    model, processor = reference
    inputs, split = processor.prepare_forced_aligner_inputs(pcm, " ".join(words), "English")
    assert split == [words]
    logits = model(**inputs).logits[0]
    return logits[inputs["input_ids"][0] == model.config.timestamp_token_id]


def test_classes_and_probabilities_are_transformers(loaded, encoder, reference, english, chinese):
    clips, expected = [], []
    for pcm, words in (
        (english, ["four", "two", "seven", "nine", "zero", "one", "five"]),
        (english[20_000:], ["seven", "don't", "x"]),
        (chinese, list("三八零二六")),
        (np.tile(english, 3), WORDS * 3),
    ):
        clips.append(clip_of(loaded, encoder, pcm, words))
        expected.append(classes_of(reference, pcm, words))
    aligner = aligning.Aligner(loaded.network)
    together = aligner.tell(clips)
    for clip, told, logits in zip(clips, together, expected, strict=True):
        assert told.classes.tolist() == logits.argmax(-1).tolist()
        np.testing.assert_allclose(told.probabilities, logits.softmax(-1).amax(-1).numpy(), atol=1e-4)
        (alone,) = aligner.tell([clip])
        assert alone.classes.tolist() == told.classes.tolist()
        np.testing.assert_allclose(alone.probabilities, told.probabilities, atol=1e-5)


def test_a_long_clip_attends_in_parts_and_is_told_the_same(loaded, encoder, english, monkeypatch):
    clip = clip_of(loaded, encoder, np.tile(english, 6), WORDS * 8)
    aligner = aligning.Aligner(loaded.network)
    (whole,) = aligner.tell([clip])
    monkeypatch.setattr(room("aligner", "network.attention"), "ROWS_TOGETHER", 100)
    (in_parts,) = aligner.tell([clip])
    assert in_parts.classes.tolist() == whole.classes.tolist()
    np.testing.assert_allclose(in_parts.probabilities, whole.probabilities, atol=1e-4)


def test_the_prompt_is_the_processors(loaded, reference):
    processor = reference[1]
    words = ["four", "五", "don't", "naïve"]
    inputs, _ = processor.prepare_forced_aligner_inputs(np.zeros(16_000, dtype=np.float32), " ".join(words), "English")
    sequence = loaded.prompts.build(words, 13)
    ids = inputs["input_ids"][0].numpy()
    audio = ids == processor.tokenizer.convert_tokens_to_ids("<|audio_pad|>")
    assert audio.sum() == 13
    assert np.where(audio, -1, ids).tolist() == np.where(sequence.ids < 0, -1, sequence.ids).tolist()
    assert sequence.ids[sequence.ids < 0].tolist() == list(range(-1, -14, -1))
    assert sequence.times.size == 2 * len(words)


@pytest.mark.parametrize("template", [None, (TINY / "chat_template.jinja").read_text(), "{{ nonsense(", "plain"])
def test_a_template_that_is_none_of_an_aligner_is_not_used(template):
    before, between, after = prompt_room._pieces(template)
    assert (before, between, after) == (prompt_room.BEFORE, prompt_room.BEHIND_WORD, prompt_room.BEHIND_WORD)


def test_the_original_layout_is_read_as_the_native_one(exported, tmp_path):
    folder = tmp_path / "original"
    folder.mkdir()
    config = json.loads((TINY_ALIGNER / "config.json").read_text())
    nested = original_config(config)
    nested["thinker_config"] |= {"model_type": "qwen3_forced_aligner", "classify_num": 384}
    nested |= {"timestamp_token_id": config["timestamp_token_id"], "timestamp_segment_time": 80}
    (folder / "config.json").write_text(json.dumps(nested))
    shutil.copy(TINY_ALIGNER / "tokenizer.json", folder)
    # As the original repositories have it: the recognizer's.
    shutil.copy(TINY / "chat_template.jinja", folder)
    weights = load_file(TINY_ALIGNER / "model.safetensors")
    weights["lm_head.weight"] = weights.pop("score.weight")
    save_file({original_name(name): value for name, value in weights.items()}, folder / "model.safetensors")
    checkpoint = Checkpoint(folder)
    export_aligner(checkpoint, tmp_path / "checkpoint")
    own, native = (load_file(one / "checkpoint" / "model.safetensors") for one in (tmp_path, exported))
    assert own.keys() == native.keys()
    assert all(torch.equal(own[name], native[name]) for name in own)
    told = [json.loads((one / "checkpoint" / "aligner.json").read_text()) for one in (tmp_path, exported)]
    assert told[0] == told[1]
    again = files.load(parameters(), tmp_path)
    assert (
        again.prompts.build(["one", "two"], 4).ids.tolist()
        == files.load(parameters(), exported).prompts.build(["one", "two"], 4).ids.tolist()
    )


def test_a_recognizer_is_no_aligner(tmp_path):
    with pytest.raises(ExportError, match="is a speech recognizer, not a forced aligner"):
        facts_of(Checkpoint(TINY))


def test_a_head_of_another_size_is_refused_at_load(exported, tmp_path):
    shutil.copytree(exported / "checkpoint", tmp_path / "checkpoint")
    facts = json.loads((tmp_path / "checkpoint" / "aligner.json").read_text())
    (tmp_path / "checkpoint" / "aligner.json").write_text(json.dumps({**facts, "num_classes": 7}))
    with pytest.raises(ValueError, match="no head of 7 classes"):
        files.load(parameters(), tmp_path)
