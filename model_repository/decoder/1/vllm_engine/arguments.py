"""The room's parameters as vLLM's engine arguments, and as variables of its process's environment.

Written for vLLM 0.32, whose names these are (EngineArgs, envs.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..parameters import Parameters

PROCESS = Path(__file__).parent / "process"
# Ours alone: whoever names one of them expects what would not happen.
WITHOUT_MEANING = (
    "draft_checkpoint",
    "draft_tokens",
    "tf32",
    "look_ahead",
    "attention_splits",
    "decode_batches",
    "live_step_tokens",
    "max_step_ms",
    "live_step_ms",
    "live_alone_ms",
    "hotword_nats",
)
# By vLLM's name, which parameter says it; "": nothing does, because requests are answered by it.
DECIDED = {
    "dtype": "dtype",
    "quantization": "quantization",
    "max_num_seqs": "max_running",
    "max_num_batched_tokens": "max_step_tokens",
    "kv_cache_memory_bytes": "kv_cache_mb",
    "enforce_eager": "cuda_graphs and torch_compile",
    "enable_prompt_embeds": "",
    "scheduling_policy": "",
    "skip_tokenizer_init": "",
    "generation_config": "",
    "logprobs_mode": "",
    "max_model_len": "",
}
# By ours, how vLLM calls what it makes of weights while it loads them.
QUANTIZATIONS = {"int8": "int8_per_channel_weight_only", "fp8": "fp8"}
# Of a GPU's whole memory, weights and cache together; the rest is the encoder's, which loads at the same time.
GPU_MEMORY_UTILIZATION = 0.8


def engine_arguments(parameters: Parameters, dtype: str, cache_bytes: int) -> dict[str, Any]:
    """All but the model, which vllm_arguments may name: a folder of the language model alone. dtype: vLLM's name;
    cache_bytes: of the KV cache, 0 where vLLM is to take what it finds.

    Raises ValueError where a parameter is named that means nothing here, or an argument that a parameter decides.
    """
    _refuse_ours(parameters)
    arguments: dict[str, Any] = {
        "dtype": dtype,
        "max_num_seqs": parameters.max_running,
        "max_num_batched_tokens": max(parameters.max_step_tokens, parameters.max_running),
        # As long as the checkpoint's positions, or as the cache holds.
        "max_model_len": -1,
        "enforce_eager": not (parameters.cuda_graphs or parameters.torch_compile),
        "enable_prompt_embeds": True,
        "scheduling_policy": "priority",
        # Token ids go out as they come: text is made of them where it always is.
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "logprobs_mode": "raw_logprobs",
        "disable_log_stats": True,
    }
    if parameters.quantization != "none":
        arguments["quantization"] = QUANTIZATIONS[parameters.quantization]
    if cache_bytes:
        arguments["kv_cache_memory_bytes"] = cache_bytes
    elif on_gpu(parameters):
        arguments["gpu_memory_utilization"] = GPU_MEMORY_UTILIZATION
    return arguments | _own(parameters.vllm_arguments)


def environment(parameters: Parameters, threads: int, given: Mapping[str, str]) -> dict[str, str]:
    """Variables of vLLM's process. given: those of this one.

    Raises ValueError where `device` names a GPU that is none of CUDA_VISIBLE_DEVICES.
    """
    found = {
        "VLLM_LOGGING_LEVEL": "WARNING",
        **given,
        # Nothing is looked up or told outside of this machine.
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        # What it starts imports our file again, a fork would not.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        # Where vLLM finds the class of the language model.
        "PYTHONPATH": os.pathsep.join([str(PROCESS), *filter(None, [given.get("PYTHONPATH")])]),
    }
    if _own(parameters.vllm_arguments).get("distributed_executor_backend") != "ray":
        found["VLLM_HOST_IP"] = "127.0.0.1"
    if on_gpu(parameters):
        _, _, number = parameters.device.partition(":")
        return found | ({"CUDA_VISIBLE_DEVICES": _visible(int(number), given)} if number else {})
    # Bound to cores, its threads and the encoder's would stand on the same ones.
    found |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(threads)}
    if not parameters.torch_compile:
        # Some of its functions are compiled whatever enforce_eager says: half a minute at the first request.
        found["TORCH_COMPILE_DISABLE"] = "1"
    return found


def on_gpu(parameters: Parameters) -> bool:
    return parameters.device.startswith("cuda")


def _refuse_ours(parameters: Parameters) -> None:
    usual = Parameters.from_texts({"device": parameters.device})
    named = [name for name in WITHOUT_MEANING if getattr(parameters, name) != getattr(usual, name)]
    if named:
        raise ValueError(f"the engine vllm has no {', '.join(named)}: leave it out, or serve by our engine")
    if on_gpu(parameters) and parameters.kv_cache_mb.endswith("%"):
        raise ValueError("kv_cache_mb of the engine vllm is a number of MB; a share is its gpu_memory_utilization")


def _own(text: str) -> dict[str, Any]:
    """vllm_arguments; ValueError where it is no json object, or names what a parameter decides."""
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise ValueError(f"vllm_arguments is no json: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("vllm_arguments must be a json object of names and values")
    for name in found:
        if name in DECIDED:
            said = f"the parameter {DECIDED[name]} says it" if DECIDED[name] else "requests depend on it"
            raise ValueError(f"vllm_arguments may not name {name}: {said}")
    return found


def _visible(number: int, given: Mapping[str, str]) -> str:
    """Which of the GPUs that this process may use has this number."""
    named = given.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return str(number)
    visible = [one.strip() for one in named.split(",") if one.strip()]
    if number >= len(visible):
        raise ValueError(f"device is cuda:{number}, but CUDA_VISIBLE_DEVICES names {len(visible)} GPUs")
    return visible[number]
