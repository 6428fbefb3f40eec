"""Checkpoint folders of random weights in the true dimensions, in either layout: real ones are tens of minutes away."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from export.checkpoint import original_config, original_name
from export.encoder.block_encoder import BlockEncoder
from perf.models.random_model import SIZES, decoder_weights

TINY = Path(__file__).resolve().parents[2] / "export" / "tiny" / "tiny"
PROJECTOR = ("linear_1.", "linear_2.")


def write_checkpoint(folder: Path, size: str, layout: str, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write `folder`: size of SIZES; layout native or original; the tiny checkpoint's tokenizer and template."""
    dimensions = SIZES[size]
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "processor_config.json"):
        if (TINY / name).is_file():
            shutil.copyfile(TINY / name, folder / name)
    config = json.loads((TINY / "config.json").read_text())
    config["audio_config"] |= vars(dimensions.encoder)
    decoder = vars(dimensions.decoder)
    config["text_config"] |= {name: decoder[name] for name in config["text_config"] if name in decoder}
    config["text_config"]["layer_types"] = ["full_attention"] * dimensions.decoder.num_hidden_layers
    torch.manual_seed(0)
    weights = {
        f"model.{'multi_modal_projector' if name.startswith(PROJECTOR) else 'audio_tower'}.{name}": tensor
        for name, tensor in BlockEncoder(dimensions.encoder).state_dict().items()
    }
    weights |= {f"model.language_model.{name}": one for name, one in decoder_weights(dimensions.decoder).items()}
    rename = original_name if layout == "original" else str
    written = {rename(name): tensor.detach().to(dtype).contiguous() for name, tensor in weights.items()}
    save_file(written, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(original_config(config) if layout == "original" else config))


def slow_tokenizer(folder: Path) -> None:
    """Give a checkpoint folder, which may consist of links, the tokenizer and processor files of the original
    repositories, which the official SDK reads."""
    fast = json.loads((folder / "tokenizer.json").read_text())
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "vocab.json").write_text(json.dumps(fast["model"]["vocab"]))
    merges = (" ".join(one) if isinstance(one, list) else one for one in fast["model"]["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    fields = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    config["added_tokens_decoder"] = {
        str(one["id"]): {name: one[name] for name in fields} for one in fast["added_tokens"]
    }
    config["extra_special_tokens"] = {name: config[name] for name in config if name.startswith("audio_")}
    config.pop("backend", None)
    (folder / "tokenizer_config.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").unlink()
    (folder / "processor_config.json").unlink()
    features: dict[str, object] = {"feature_extractor_type": "WhisperFeatureExtractor"}
    features["processor_class"] = "Qwen3ASRProcessor"
    features |= {"feature_size": 128, "sampling_rate": 16_000, "hop_length": 160, "n_fft": 400, "chunk_length": 30}
    (folder / "preprocessor_config.json").write_text(
        json.dumps({**features, "padding_side": "right", "padding_value": 0.0, "return_attention_mask": True})
    )
