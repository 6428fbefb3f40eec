"""A speaker encoder: windows of features to voices, by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .record import NETWORK, RECORD, Record

Floats = NDArray[np.float32]


class SpeakerEncoder:
    """Used from several threads at once."""

    def __init__(self, folder: Path) -> None:
        """folder: of the network and its record. Raises ValueError where they do not go together."""
        self.record = Record.read(folder / RECORD)
        options = onnxruntime.SessionOptions()
        # Runs are short and many: cores are shared by making several at once.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = folder / NETWORK
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        inputs = {one.name: one.shape for one in self._session.get_inputs()}
        outputs = {one.name for one in self._session.get_outputs()}
        record = self.record
        if record.input not in inputs or record.output not in outputs:
            raise ValueError(
                f"{path} has the tensors {sorted(inputs)} and {sorted(outputs)}; its record says {record.input} and "
                f"{record.output}"
            )
        shape = inputs[record.input]
        if len(shape) != 3 or (isinstance(shape[2], int) and shape[2] != record.num_mels):
            raise ValueError(f"{path} takes {shape}; its record says [batch, frames, {record.num_mels}]")
        self.width = int(self.embed(np.zeros((1, self.frames, record.num_mels), dtype=np.float32)).shape[1])

    @property
    def frames(self) -> int:
        """Of a window."""
        return round(self.record.window_s * 100)

    def embed(self, windows: Floats) -> Floats:
        """Voices of unit length, float32 [windows, width]. windows: float32 [windows, frames, num_mels]."""
        if self.record.features == "kaldi_fbank":
            windows = windows - windows.mean(axis=1, keepdims=True)
        (voices,) = self._session.run([self.record.output], {self.record.input: windows})
        return unit(np.asarray(voices, dtype=np.float32).reshape(len(windows), -1))


def unit(voices: Floats) -> Floats:
    """Of length one, along the last axis."""
    length = np.linalg.norm(voices, axis=-1, keepdims=True)
    return voices / np.maximum(length, 1e-9)
