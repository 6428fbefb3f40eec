"""A speaker encoder from its own package, or a file, to the room that serves it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

from export.errors import ExportError
from export.files import staged
from export.rooms import room

PACKAGE, WEIGHTS, VERSION = "resemblyzer", "pretrained.pt", "0.1.4"
WEIGHTS_SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"
# As GE2E's authors trained it: 40 mels, three layers of 256, windows of 1.6 s. The distances were chosen on composed
# conversations of other seeds than those that `perf speakers` measures.
GE2E = {
    "name": f"{PACKAGE} {VERSION}",
    "license": "Apache-2.0",
    "input": "FEATURES",
    "output": "EMBEDDINGS",
    "features": "mel_power",
    "num_mels": 40,
    "window_s": 1.6,
    "hop_s": 0.4,
    "normalize_dbfs": -30.0,
    "turn": 0.28,
    "join": 0.31,
    "merge": 0.19,
    "known": 0.4,
    "known_again": 0.36,
}
MELS, WIDTH, LAYERS = 40, 256, 3


def speaker_folder(repository: Path) -> Path:
    return repository / "speakers" / "1" / "checkpoint"


def is_exported(repository: Path) -> bool:
    """Whether a speaker encoder is there, whichever."""
    files = room("speakers", "record")
    folder = speaker_folder(repository)
    return (folder / files.NETWORK).is_file() and (folder / files.RECORD).is_file()


def export_speakers(repository: Path, network: Path | None = None, record: Path | None = None) -> str:
    """Fill the room `speakers`; returns the encoder's name.

    network: an ONNX file of any speaker encoder, [batch, frames, mels] to [batch, width], and record: what describes it
    (model_repository/speakers/1/record.py). Left out: the network of the package resemblyzer. Raises ExportError where
    they do not go together, or the package is not installed.
    """
    if (network is None) != (record is None):
        raise ExportError("--onnx and --record go together: the record says what the network hears")
    files = room("speakers", "record")
    folder = speaker_folder(repository)
    with staged(folder) as around:
        made = around / folder.name
        made.mkdir()
        if network is None or record is None:
            _write_ge2e(made / files.NETWORK)
            (made / files.RECORD).write_text(json.dumps(GE2E, indent=2) + "\n", encoding="utf-8")
        else:
            for source, name in ((network, files.NETWORK), (record, files.RECORD)):
                if not source.is_file():
                    raise ExportError(f"{source} is missing")
                shutil.copyfile(source, made / name)
        try:
            # As the server loads it: a mistake shows here.
            name = str(room("speakers", "encoder").SpeakerEncoder(made).record.name)
        except Exception as error:
            raise ExportError(f"this speaker encoder cannot be served: {error}") from error
    return name


def package_weights() -> Path:
    """The file in the package. Raises ExportError where that is not installed."""
    # Found without being imported: the package itself wants librosa and a compiler, its weights do not.
    spec = importlib.util.find_spec(PACKAGE)
    places = spec.submodule_search_locations if spec else None
    path = Path(places[0]) / WEIGHTS if places else None
    if path is None or not path.is_file():
        raise ExportError(
            f"the package {PACKAGE} is not installed: `make setup` installs it, or "
            f"pip install --no-deps {PACKAGE}=={VERSION}"
        )
    return path


def _write_ge2e(target: Path) -> None:
    import torch

    path = package_weights()
    if hashlib.sha256(path.read_bytes()).hexdigest() != WEIGHTS_SHA256:
        raise ExportError(f"{path} is not that of {PACKAGE} {VERSION}")
    state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    network = _ge2e()
    network.load_state_dict({name: value for name, value in state.items() if not name.startswith("similarity_")})
    example = torch.rand(2, 160, 40)
    torch.onnx.export(
        network.eval(),
        (example,),
        target,
        input_names=["FEATURES"],
        output_names=["EMBEDDINGS"],
        dynamic_axes={"FEATURES": {0: "batch", 1: "frames"}, "EMBEDDINGS": {0: "batch"}},
        opset_version=17,
        # The newer exporter unrolls recurrent layers over time.
        dynamo=False,
    )
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        for frames in (160, 90):
            example = torch.rand(3, frames, 40)
            (found,) = session.run(None, {"FEATURES": example.numpy()})
            apart = float(np.abs(found - network(example).numpy()).max())
            if apart > 1e-4:
                raise ExportError(f"the exported speaker encoder differs from the original by {apart:g}")


def _ge2e() -> Any:
    """Generalized end-to-end loss for speaker verification (Wan et al., 2018): the last state of an LSTM, through a
    rectified layer, of unit length."""
    import torch
    from torch import Tensor, nn

    class Ge2e(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(MELS, WIDTH, LAYERS, batch_first=True)
            self.linear = nn.Linear(WIDTH, WIDTH)

        def forward(self, features: Tensor) -> Tensor:
            _, (hidden, _) = self.lstm(features)
            voice = torch.relu(self.linear(hidden[-1]))
            return voice / torch.linalg.vector_norm(voice, dim=1, keepdim=True)

    return Ge2e()
