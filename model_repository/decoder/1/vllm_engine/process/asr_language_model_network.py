"""The class that `asr_language_model` tells vLLM of; apart from it, because importing it imports all of vLLM."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asr_language_model import renamed
from vllm.model_executor.models.qwen3 import Qwen3ForCausalLM


class Qwen3OfAsr(Qwen3ForCausalLM):
    def load_weights(self, weights: Iterable[tuple[str, Any]]) -> set[str]:
        return super().load_weights(renamed(weights))
