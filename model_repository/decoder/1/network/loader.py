"""Read a Qwen3-ASR checkpoint's language model, in both layouts that exist."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from tokenizers import Tokenizer

from .qwen3 import Qwen3Config

# Where the language model's weights lie: transformers' native layout, the original one, and a bare one.
PREFIXES = ("model.language_model.", "thinker.model.", "")
WEIGHTS_PER_THREAD = 10_000_000
HEADS = ("lm_head.weight", "thinker.lm_head.weight")


@dataclass(frozen=True)
class Checkpoint:
    """What serving needs of a checkpoint. template: the chat template's source, or None."""

    config: Qwen3Config
    end_ids: tuple[int, ...]
    tokenizer: Tokenizer
    template: str | None
    weights: Mapping[str, torch.Tensor]

    @property
    def num_weights(self) -> int:
        return sum(tensor.numel() for tensor in self.weights.values())


def useful_threads(num_weights: int) -> int:
    """Threads that a network of this size can use: a small one's matrices are done before a second thread has begun,
    and the cores are wanted by other models."""
    return max(1, min(os.cpu_count() or 1, num_weights // WEIGHTS_PER_THREAD))


def name_of(folder: Path) -> str:
    """What the export called a checkpoint, else its folder."""
    told = folder / "export.json"
    return str(_json(told)["name"]) if told.is_file() else folder.name


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint folder.

    Raises FileNotFoundError where a file is missing, ValueError where it is not Qwen3-ASR.
    """
    config = _json(folder / "config.json")
    # The original layout keeps everything one level deeper.
    model = config.get("thinker_config", config)
    if "text_config" not in model or "audio_config" not in model:
        raise ValueError(f"{folder / 'config.json'} is not a Qwen3-ASR configuration: no text_config and audio_config")
    tokenizer = Tokenizer.from_file(str(_existing(folder / "tokenizer.json")))
    return Checkpoint(
        config=Qwen3Config.from_text_config(model["text_config"]),
        end_ids=_end_ids(folder, config, model, tokenizer),
        tokenizer=tokenizer,
        template=_template(folder),
        weights=_weights(folder),
    )


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: make it with `python -m export all CHECKPOINT`")
    return path


def _json(path: Path) -> dict[str, Any]:
    return json.loads(_existing(path).read_text(encoding="utf-8"))


def _end_ids(folder: Path, config: dict[str, Any], model: dict[str, Any], tokenizer: Tokenizer) -> tuple[int, ...]:
    generation = folder / "generation_config.json"
    named = _json(generation).get("eos_token_id") if generation.is_file() else None
    named = named or config.get("eos_token_id") or model.get("eos_token_id")
    ids = {named} if isinstance(named, int) else set(named or ())
    # The turn's end always ends an answer, whatever the configuration forgets.
    ids |= {tokenizer.token_to_id(token) for token in ("<|im_end|>", "<|endoftext|>")} - {None}
    return tuple(sorted(ids))


def _template(folder: Path) -> str | None:
    jinja = folder / "chat_template.jinja"
    if jinja.is_file():
        return jinja.read_text(encoding="utf-8")
    for name in ("chat_template.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            template = _json(folder / name).get("chat_template")
            if isinstance(template, str):
                return template
    return None


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    """Weights of the language model by short names; memory-mapped until they are used."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"no *.safetensors in {folder}")
    found: dict[str, torch.Tensor] = {}
    for path in files:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                if name in HEADS:
                    found["lm_head.weight"] = file.get_tensor(name)
                elif (short := _short(name)) is not None:
                    found[short] = file.get_tensor(name)
    return found


def _short(name: str) -> str | None:
    for prefix in PREFIXES:
        if name.startswith((f"{prefix}layers.", f"{prefix}embed_tokens.", f"{prefix}norm.")):
            return name[len(prefix) :]
    return None
