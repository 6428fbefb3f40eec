"""The language model inside of a Qwen3-ASR checkpoint, as vLLM loads it: its Qwen3 under the names of that checkpoint.

So the checkpoint's own files are read, and none is written again under other names. Imported by vLLM's processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

ARCHITECTURE = "Qwen3OfAsr"
# Where the weights lie: transformers' native layout, the original one, a bare one.
PREFIXES = ("model.language_model.", "thinker.model.", "")
PARTS = ("layers.", "embed_tokens.", "norm.")
HEADS = ("lm_head.weight", "thinker.lm_head.weight")


def plain(name: str) -> str | None:
    """A weight's name in a Qwen3ForCausalLM, None where it is no part of the language model."""
    if name in HEADS:
        return "lm_head.weight"
    for prefix in PREFIXES:
        if name.startswith(tuple(prefix + part for part in PARTS)):
            return f"model.{name[len(prefix) :]}"
    return None


def renamed(weights: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, weight in weights:
        if (known := plain(name)) is not None:
            yield known, weight


def register() -> None:
    """Tell vLLM of it, in each of its processes."""
    from vllm import ModelRegistry

    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, f"asr_language_model_network:{ARCHITECTURE}")
