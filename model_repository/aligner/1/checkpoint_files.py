"""Read what `python -m export` wrote for the aligner: the network with its head, the prompt, and what a class is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from .network.loader import read_checkpoint, useful_threads
from .network.qwen3 import Qwen3
from .parameters import Parameters
from .prompt import PromptBuilder

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
BFLOAT16_FROM = (8, 0)
FACTS = "aligner.json"


@dataclass(frozen=True)
class Loaded:
    """class_ms: milliseconds of a class of time; num_classes: how many there are."""

    network: Qwen3
    prompts: PromptBuilder
    class_ms: float
    num_classes: int


def load(parameters: Parameters, folder: Path) -> Loaded:
    """folder: the model's version folder. Raises FileNotFoundError where a file is missing, ValueError where one is
    none of an aligner or the device cannot be used."""
    device = _device(parameters.device)
    path = folder / parameters.checkpoint
    checkpoint = read_checkpoint(path)
    facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
    head = checkpoint.weights.get("lm_head.weight")
    if head is None or head.shape[0] != facts["num_classes"]:
        raise ValueError(f"{path} has no head of {facts['num_classes']} classes: export the aligner again")
    torch.set_num_threads(parameters.num_threads or useful_threads(checkpoint.num_weights))
    return Loaded(
        Qwen3(checkpoint.config, checkpoint.weights, device, _dtype(parameters.dtype, device)),
        PromptBuilder(checkpoint.tokenizer, checkpoint.template, facts["timestamp_token_id"]),
        float(facts["class_ms"]),
        int(facts["num_classes"]),
    )


def _device(name: str) -> torch.device:
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device is {name}, but this PyTorch sees {torch.cuda.device_count()} CUDA devices")
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name != "auto":
        return DTYPES[name]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= BFLOAT16_FROM else torch.float16
