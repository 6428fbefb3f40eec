import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from export.checkpoint import Checkpoint, original_config, original_name
from export.errors import ExportError
from export.rooms import room
from tests.conftest import TINY

loader = room("decoder", "network.loader")


@pytest.fixture
def copy(tmp_path):
    """A copy of the tiny checkpoint that a test may break."""
    target = tmp_path / "tiny"
    shutil.copytree(TINY, target)
    return target


@pytest.fixture
def original(copy):
    """The tiny checkpoint in the original layout, in two shards with an index."""
    weights = {original_name(name): tensor for name, tensor in load_file(copy / "model.safetensors").items()}
    assert all(name.startswith("thinker.") for name in weights)
    assert "thinker.audio_tower.proj1.weight" in weights
    names = sorted(weights)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: weights[name] for name in part}, copy / file, metadata={"format": "pt"})
    (copy / "model.safetensors").unlink()
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(original_config(config)))
    return copy


def test_both_layouts_hold_the_same_weights(original):
    native, other = Checkpoint(TINY), Checkpoint(original)
    names = list(native.names(("model.", "lm_head.")))
    assert names == list(other.names(("model.", "lm_head.")))
    assert all(torch.equal(native.tensor(name), other.tensor(name)) for name in names)
    assert native.encoder_config() == other.encoder_config()


def test_the_decoder_reads_both_layouts(original):
    native, other = loader.read_checkpoint(TINY), loader.read_checkpoint(original)
    assert native.config == other.config
    assert native.end_ids == other.end_ids
    assert native.weights.keys() == other.weights.keys()
    assert all(torch.equal(native.weights[name], other.weights[name]) for name in native.weights)


def test_a_missing_shard_is_named(original):
    (original / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ExportError, match=r"lacks model-00002-of-00002\.safetensors"):
        Checkpoint(original)


def test_a_truncated_file_is_named(copy):
    data = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ExportError, match=r"model\.safetensors cannot be read"):
        Checkpoint(copy)


def test_another_architecture_is_refused(copy):
    (copy / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    with pytest.raises(ExportError, match="model_type 'whisper', not a Qwen3-ASR"):
        Checkpoint(copy)


def test_weights_that_do_not_fit_are_refused(copy):
    config = json.loads((copy / "config.json").read_text())
    config["audio_config"]["encoder_ffn_dim"] = 7
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ExportError, match="do not fit its configuration"):
        Checkpoint(copy).block_encoder()
