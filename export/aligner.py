"""The forced aligner's checkpoint folder: language model, its head over classes of time, tokenizer, template."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from export.checkpoint import LANGUAGE_MODEL_PREFIX, Checkpoint
from export.decoder import COPIED, copy_tokenizer
from export.errors import ExportError
from export.files import require_space, staged
from export.hub import Source
from export.stamp import stamp_of

# The head by its native name and by the original package's, which keeps it in the place of a head over tokens.
HEADS = ("score.weight", "lm_head.weight")
FACTS = "aligner.json"
DEFAULT_CLASS_MS = 80
NOT_ALIGNER = "is a speech recognizer, not a forced aligner: it has no timestamp token or no head over classes of time"


@dataclass(frozen=True)
class AlignerFacts:
    """timestamp_token_id: of the token whose rows tell times; class_ms: milliseconds of a class; num_classes."""

    timestamp_token_id: int
    class_ms: float
    num_classes: int
    head: str


def facts_of(checkpoint: Checkpoint) -> AlignerFacts:
    """Raises ExportError where the checkpoint is not a forced aligner's."""
    config = json.loads((checkpoint.folder / "config.json").read_text(encoding="utf-8"))
    head = next((name for name in HEADS if checkpoint.has(name)), None)
    token = config.get("timestamp_token_id", checkpoint.model_config.get("timestamp_token_id"))
    if head is None or token is None:
        raise ExportError(f"{checkpoint.folder} {NOT_ALIGNER}")
    num_classes = checkpoint.tensor(head).shape[0]
    if head == "lm_head.weight" and num_classes == checkpoint.model_config["text_config"].get("vocab_size"):
        raise ExportError(f"{checkpoint.folder} {NOT_ALIGNER}")
    return AlignerFacts(int(token), _class_ms(checkpoint.folder, config), int(num_classes), head)


def _class_ms(folder: Path, config: dict[str, object]) -> float:
    """The original layout says it in config.json, the native one in its processor's."""
    processor = folder / "processor_config.json"
    told = json.loads(processor.read_text(encoding="utf-8")) if processor.is_file() else {}
    value = config.get("timestamp_segment_time", told.get("timestamp_segment_time", DEFAULT_CLASS_MS))
    if not isinstance(value, int | float) or not value > 0:
        raise ExportError(f"{folder} has timestamp_segment_time {value!r}, which are no milliseconds")
    return float(value)


def export_aligner(checkpoint: Checkpoint, target: Path, source: Source | None = None) -> int:
    """Write the folder `target`; returns the bytes of its weights, which keep the checkpoint's precision.

    source: where the checkpoint came from, for the stamp; without one it is its folder.
    """
    facts = facts_of(checkpoint)
    source = source or Source(str(checkpoint.folder), checkpoint.folder)
    weights = {name: checkpoint.tensor(name).contiguous() for name in checkpoint.names((LANGUAGE_MODEL_PREFIX,))}
    weights["lm_head.weight"] = checkpoint.tensor(facts.head).contiguous()
    size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    require_space(target.parent, size + 50_000_000)
    with staged(target) as folder:
        made = folder / target.name
        made.mkdir()
        for name in COPIED:
            if (checkpoint.folder / name).is_file():
                shutil.copyfile(checkpoint.folder / name, made / name)
        copy_tokenizer(checkpoint.folder, made)
        told = {name: getattr(facts, name) for name in ("timestamp_token_id", "class_ms", "num_classes")}
        (made / FACTS).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        stamp_of(checkpoint.folder, source.asked, source.revision).write(made)
        save_file(weights, made / "model.safetensors", metadata={"format": "pt"})
    return size
