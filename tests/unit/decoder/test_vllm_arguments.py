"""What the room's parameters are called by vLLM, and what it is given to load."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from export.rooms import room
from tests.conftest import TINY

arguments = room("decoder", "vllm_engine.arguments")
language_model = room("decoder", "vllm_engine.language_model")
names = room("decoder", "vllm_engine.process.asr_language_model")
loader = room("decoder", "network.loader")
Parameters = room("decoder", "parameters").Parameters


def parameters(**texts):
    return Parameters.from_texts({"engine": "vllm", **texts})


def test_our_parameters_have_vllms_names():
    made = arguments.engine_arguments(parameters(max_running="16", max_step_tokens="256"), "float32", 1_000)
    assert made["max_num_seqs"] == 16
    assert made["max_num_batched_tokens"] == 256
    assert made["kv_cache_memory_bytes"] == 1_000
    assert made["dtype"] == "float32"
    assert made["enforce_eager"]
    assert made["enable_prompt_embeds"]
    assert made["scheduling_policy"] == "priority"
    assert not {"model", "quantization", "gpu_memory_utilization"} & set(made)


def test_on_a_gpu_it_records_and_leaves_memory_to_the_encoder():
    made = arguments.engine_arguments(parameters(device="cuda", quantization="fp8"), "auto", 0)
    assert not made["enforce_eager"]
    assert made["quantization"] == "fp8"
    assert made["gpu_memory_utilization"] == 0.8
    assert "kv_cache_memory_bytes" not in made


def test_its_own_arguments_are_passed_on():
    own = {"tensor_parallel_size": 2, "distributed_executor_backend": "ray", "gpu_memory_utilization": 0.5}
    made = arguments.engine_arguments(parameters(device="cuda", vllm_arguments=json.dumps(own)), "auto", 0)
    assert own.items() <= made.items()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"draft_checkpoint": "x", "hotword_nats": "2"}, "the engine vllm has no draft_checkpoint, hotword_nats"),
        ({"device": "cuda", "kv_cache_mb": "20%"}, "a share is its gpu_memory_utilization"),
        ({"vllm_arguments": "{"}, "vllm_arguments is no json"),
        ({"vllm_arguments": "[1]"}, "must be a json object"),
        ({"vllm_arguments": '{"max_num_seqs": 4}'}, "may not name max_num_seqs: the parameter max_running says it"),
        ({"vllm_arguments": '{"scheduling_policy": "fcfs"}'}, "may not name scheduling_policy: requests depend on it"),
    ],
)
def test_what_would_not_happen_is_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        arguments.engine_arguments(parameters(**texts), "float32", 0)


def test_its_process_tells_nobody_and_asks_nobody():
    made = arguments.environment(parameters(), 3, {"HOME": "/home", "VLLM_LOGGING_LEVEL": "DEBUG"})
    assert (made["HF_HUB_OFFLINE"], made["VLLM_NO_USAGE_STATS"]) == ("1", "1")
    assert (made["HOME"], made["VLLM_LOGGING_LEVEL"], made["OMP_NUM_THREADS"]) == ("/home", "DEBUG", "3")
    assert made["VLLM_HOST_IP"] == "127.0.0.1"
    ray = parameters(vllm_arguments='{"distributed_executor_backend": "ray"}')
    assert "VLLM_HOST_IP" not in arguments.environment(ray, 3, {})


@pytest.mark.parametrize(
    ("device", "given", "expected"),
    [
        ("cuda", {}, None),
        ("cuda", {"CUDA_VISIBLE_DEVICES": "2,3"}, "2,3"),
        ("cuda:1", {}, "1"),
        ("cuda:1", {"CUDA_VISIBLE_DEVICES": "2, 3"}, "3"),
    ],
)
def test_a_gpu_that_is_named_is_the_one_it_sees(device, given, expected):
    made = arguments.environment(parameters(device=device), 1, given)
    assert made.get("CUDA_VISIBLE_DEVICES") == expected


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="device is cuda:2, but CUDA_VISIBLE_DEVICES names 1"):
        arguments.environment(parameters(device="cuda:2"), 1, {"CUDA_VISIBLE_DEVICES": "0"})


@pytest.mark.parametrize("prefix", ["model.language_model.", "thinker.model.", ""])
def test_vllm_reads_the_weights_that_we_read(tmp_path, prefix):
    weights = {
        f"{prefix}layers.0.mlp.up_proj.weight": torch.zeros(2, 2),
        f"{prefix}embed_tokens.weight": torch.zeros(2, 2),
        f"{prefix}norm.weight": torch.zeros(2),
        "lm_head.weight": torch.zeros(2, 2),
        "model.audio_tower.layers.0.fc1.weight": torch.zeros(2, 2),
        "thinker.audio_tower.layers.0.fc1.weight": torch.zeros(2, 2),
    }
    save_file(weights, tmp_path / "model.safetensors")
    ours = loader._weights(tmp_path)
    theirs = dict(names.renamed(weights.items()))
    assert set(theirs) == {name if name == "lm_head.weight" else f"model.{name}" for name in ours}
    assert len(ours) == 4


def test_it_loads_the_checkpoints_own_files(tmp_path):
    checkpoint = loader.read_checkpoint(TINY)
    language_model.write_language_model(checkpoint.config, TINY, tmp_path, tied=True)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["Qwen3OfAsr"]
    assert (config["hidden_size"], config["rope_theta"]) == (128, checkpoint.config.rope_theta)
    assert config["max_position_embeddings"] == room("decoder", "serving.budget").TOKENS_OF_LONGEST
    assert (tmp_path / "model.safetensors").resolve() == (TINY / "model.safetensors").resolve()
    assert load_file(tmp_path / "model.safetensors").keys() == load_file(TINY / "model.safetensors").keys()
