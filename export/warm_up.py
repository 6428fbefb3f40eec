"""What Triton's `model_warmup` sends at load: a block of speech-like sound, as raw files beside the models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.files import staged
from export.rooms import room

SAMPLE_RATE_HZ = 16_000


def speech_like(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """A gliding voice with four syllables a second over faint noise: float32 [samples], 16 kHz."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    pitch_hz = 120 + 20 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    # Falling harmonics stand for the glottis, the raised cosine for syllables.
    voice = sum(np.sin(k * phase) / k for k in range(1, 25))
    syllables = 0.5 - 0.5 * np.cos(2 * np.pi * 4 * time)
    sound = 0.1 * voice * syllables + 0.001 * rng.standard_normal(time.size)
    return sound.astype(np.float32)


def export_warm_up(repository: Path) -> None:
    """Write `encoder/warmup`: MEL [128, 800], FRAMES [1] and CLIP_MAX [1] of one full block."""
    blocks = room("features", "blocks").blocks_of(speech_like(8), max_blocks=1)
    with staged(repository / "encoder" / "warmup") as folder:
        made = folder / "warmup"
        made.mkdir()
        for name, value in (("MEL", blocks.mel), ("FRAMES", blocks.frames), ("CLIP_MAX", blocks.clip_max)):
            (made / name).write_bytes(value.tobytes())
