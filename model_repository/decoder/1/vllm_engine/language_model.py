"""The language model of a checkpoint as a folder that vLLM loads: a configuration, and links to the weights."""

from __future__ import annotations

import json
from pathlib import Path

from ..network.qwen3 import Qwen3Config
from ..serving.budget import TOKENS_OF_LONGEST
from .process.asr_language_model import ARCHITECTURE


def write_language_model(config: Qwen3Config, checkpoint: Path, folder: Path, *, tied: bool) -> None:
    """Fill `folder`, which exists. checkpoint: the folder with the weights; tied: whether their head is the table of
    embeddings."""
    for path in checkpoint.glob("*.safetensors"):
        (folder / path.name).symlink_to(path.resolve())
    written = {
        "architectures": [ARCHITECTURE],
        "model_type": "qwen3",
        **vars(config),
        "hidden_act": "silu",
        "attention_bias": False,
        "tie_word_embeddings": tied,
        # Positions have no end of their own; no clip has more.
        "max_position_embeddings": TOKENS_OF_LONGEST,
    }
    (folder / "config.json").write_text(json.dumps(written), encoding="utf-8")
