"""The decoder's checkpoint folder: the language model's weights, the tokenizer and the chat template."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import save_file

from export.checkpoint import DECODER_PREFIXES, Checkpoint
from export.errors import ExportError
from export.files import require_space, staged
from export.hub import Source
from export.stamp import stamp_of

COPIED = ("config.json", "generation_config.json", "tokenizer_config.json", "chat_template.jinja", "chat_template.json")


def export_decoder(checkpoint: Checkpoint, target: Path, source: Source | None = None) -> int:
    """Write the folder `target`; returns the bytes of its weights, which keep the checkpoint's precision.

    source: where the checkpoint came from, for the stamp; without one it is its folder.
    """
    source = source or Source(str(checkpoint.folder), checkpoint.folder)
    weights = {name: checkpoint.tensor(name).contiguous() for name in checkpoint.names(DECODER_PREFIXES)}
    if checkpoint.model_config["text_config"].get("tie_word_embeddings", True):
        weights.pop("lm_head.weight", None)
    size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    require_space(target.parent, size + 50_000_000)
    with staged(target) as folder:
        made = folder / target.name
        made.mkdir()
        for name in COPIED:
            if (checkpoint.folder / name).is_file():
                shutil.copyfile(checkpoint.folder / name, made / name)
        copy_tokenizer(checkpoint.folder, made)
        stamp_of(checkpoint.folder, source.asked, source.revision).write(made)
        save_file(weights, made / "model.safetensors", metadata={"format": "pt"})
    return size


def copy_tokenizer(source: Path, target: Path) -> None:
    """tokenizer.json of a checkpoint folder, made of the slow form where there is only that. Raises ExportError."""
    if (source / "tokenizer.json").is_file():
        shutil.copyfile(source / "tokenizer.json", target / "tokenizer.json")
        return
    if not (source / "vocab.json").is_file() or not (source / "merges.txt").is_file():
        raise ExportError(f"{source} has no tokenizer: tokenizer.json, or vocab.json and merges.txt, are needed")
    # The original repositories ship only the slow form; transformers turns it into one file.
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(source).backend_tokenizer.save(str(target / "tokenizer.json"))
