"""A Qwen3-ASR checkpoint on disk, in either of its two layouts, read by transformers' native names.

Native (transformers, `Qwen/Qwen3-ASR-*-hf`): model.audio_tower, model.multi_modal_projector, model.language_model.
Original (PyPI `qwen-asr`, `Qwen/Qwen3-ASR-*`): the same below thinker., with the projector inside of the audio tower.
"""

from __future__ import annotations

import functools
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from export.encoder.block_encoder import BlockEncoder, EncoderConfig
from export.errors import ExportError
from export.stamp import name_of, weights_sha256

# Original prefix -> native prefix, the first that fits.
ORIGINAL_TO_NATIVE = (
    ("thinker.audio_tower.proj1.", "model.multi_modal_projector.linear_1."),
    ("thinker.audio_tower.proj2.", "model.multi_modal_projector.linear_2."),
    ("thinker.audio_tower.", "model.audio_tower."),
    ("thinker.model.", "model.language_model."),
    ("thinker.lm_head.", "lm_head."),
)
ENCODER_PREFIXES = ("model.audio_tower.", "model.multi_modal_projector.")
LANGUAGE_MODEL_PREFIX = "model.language_model."
DECODER_PREFIXES = (LANGUAGE_MODEL_PREFIX, "lm_head.")


def native_name(name: str) -> str:
    """The native name of a weight of either layout."""
    for original, native in ORIGINAL_TO_NATIVE:
        if name.startswith(original):
            return native + name[len(original) :]
    return name


def original_name(name: str) -> str:
    """The original layout's name of a natively named weight."""
    for original, native in ORIGINAL_TO_NATIVE:
        if name.startswith(native):
            return original + name[len(native) :]
    return name


def original_config(config: dict[str, Any]) -> dict[str, Any]:
    """A native config.json as the original layout nests it."""
    inner = {key: config[key] for key in ("audio_config", "text_config", "audio_token_id") if key in config}
    inner["text_config"] = {
        **inner["text_config"],
        "rope_scaling": {"rope_type": "default", "mrope_section": [24, 20, 20]},
    }
    return {
        "architectures": ["Qwen3ASRForConditionalGeneration"],
        "model_type": "qwen3_asr",
        "thinker_config": {**inner, "model_type": "qwen3_asr_thinker"},
    }


class Checkpoint:
    """Config and weights of a checkpoint folder; weights are read when asked for."""

    def __init__(self, folder: Path) -> None:
        """Raises ExportError where the folder holds no Qwen3-ASR checkpoint."""
        self.folder = folder
        config = self._read_json("config.json")
        self.model_config: dict[str, Any] = config.get("thinker_config", config)
        if config.get("model_type") != "qwen3_asr" or "audio_config" not in self.model_config:
            raise ExportError(
                f"{folder} holds model_type {config.get('model_type')!r}, not a Qwen3-ASR speech recognition checkpoint"
            )
        self._files = self._index()
        for prefix in (*ENCODER_PREFIXES, DECODER_PREFIXES[0]):
            if not any(name.startswith(prefix) for name in self._files):
                raise ExportError(f"{folder} has no weights named {prefix}*: a file is missing or it is another model")

    @property
    def name(self) -> str:
        """What the checkpoint is called."""
        return name_of(self.folder)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the weight files, in order: gigabytes, read once."""
        return weights_sha256(self.folder)

    def names(self, prefixes: tuple[str, ...]) -> Iterator[str]:
        """Native names of the weights below `prefixes`."""
        return (name for name in sorted(self._files) if name.startswith(prefixes))

    def has(self, name: str) -> bool:
        """Whether there is a weight of this native name."""
        return name in self._files

    def tensor(self, name: str) -> torch.Tensor:
        """A weight by its native name."""
        path, stored = self._files[name]
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(stored)

    def encoder_config(self) -> EncoderConfig:
        audio = self.model_config["audio_config"]
        if audio.get("n_window", 50) != 50 or audio.get("n_window_infer", 800) != 800:
            raise ExportError("the encoder's windows are not 100 and 800 frames: blocks would not be independent")
        try:
            return EncoderConfig(**{name: audio[name] for name in EncoderConfig.__dataclass_fields__})
        except KeyError as error:
            raise ExportError(f"audio_config has no {error.args[0]}") from error

    def block_encoder(self) -> BlockEncoder:
        """The encoder and projector in float32, ready to run."""
        encoder = BlockEncoder(self.encoder_config())
        state = {
            name.removeprefix("model.audio_tower.").removeprefix("model.multi_modal_projector."): self.tensor(
                name
            ).float()
            for name in self.names(ENCODER_PREFIXES)
        }
        try:
            encoder.load_state_dict(state)
        except RuntimeError as error:
            raise ExportError(
                f"the encoder's weights do not fit its configuration: {str(error).splitlines()[-1].strip()}"
            ) from error
        return encoder.eval()

    def _read_json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        if not path.is_file():
            raise ExportError(f"{path} is missing: not a checkpoint folder")
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ExportError(f"{path} is not JSON: {error}") from error

    def _index(self) -> dict[str, tuple[Path, str]]:
        files = sorted(self.folder.glob("*.safetensors"))
        if not files:
            raise ExportError(f"no *.safetensors in {self.folder}")
        if (self.folder / "model.safetensors.index.json").is_file():
            named = set(self._read_json("model.safetensors.index.json")["weight_map"].values())
            missing = sorted(named - {path.name for path in files})
            if missing:
                raise ExportError(f"{self.folder} lacks {', '.join(missing)}, which its index names")
        index: dict[str, tuple[Path, str]] = {}
        for path in files:
            try:
                with safe_open(path, framework="pt") as file:
                    index.update({native_name(name): (path, name) for name in file.keys()})  # noqa: SIM118
            except (SafetensorError, OSError, struct.error) as error:
                raise ExportError(f"{path} cannot be read: {error}") from error
        return index
