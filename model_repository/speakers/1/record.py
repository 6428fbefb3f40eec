"""What stands beside a speaker encoder: which tensors it has, which features it hears, and how far voices are apart."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

NETWORK, RECORD = "speakers.onnx", "speakers.json"
FEATURES = ("mel_power", "kaldi_fbank")


@dataclass(frozen=True)
class Record:
    """features: mel_power (librosa's, not logarithmic) or kaldi_fbank (logarithmic, less its mean over the window).
    window_s, hop_s: of the windows that are embedded. normalize_dbfs: quieter speech is made so loud; none: never.

    Distances, one less the cosine of two voices: turn, from which on two neighbours are two speakers; join, up to
    which turns are one speaker's, on average; merge, up to which two speakers are one; known, up to which the nearest
    is one that is known, and known_again, up to which others are the same one.
    """

    name: str
    license: str
    input: str
    output: str
    features: str
    num_mels: int
    window_s: float
    hop_s: float
    turn: float
    join: float
    merge: float
    known: float
    known_again: float
    normalize_dbfs: float | None = None

    @classmethod
    def read(cls, path: Path) -> Record:
        """Raises ValueError where the file does not say all that is needed."""
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            names = {field.name for field in fields(cls)}
            record = cls(**{name: value for name, value in told.items() if name in names})
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} does not describe a speaker encoder: {error}") from error
        record.check(path)
        return record

    def check(self, path: Path) -> None:
        """Raises ValueError where a value makes no sense."""
        if self.features not in FEATURES:
            raise ValueError(f"{path}: features must be one of {', '.join(FEATURES)}, not {self.features!r}")
        for name in ("num_mels", "window_s", "hop_s", "turn", "join", "merge", "known", "known_again"):
            value: Any = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"{path}: {name} must be a number above 0, not {value!r}")
