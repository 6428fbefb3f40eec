"""The parameters of the voice activity detector; a request may name those of what is speech as well."""

from __future__ import annotations

from dataclasses import dataclass

from .declaration import Declared, parameter

# Of what is said in ms: ten minutes, longer than a clip.
MOST_MS = 600_000


@dataclass(frozen=True)
class Parameters(Declared):
    threshold: float = parameter(
        0.5, "Speech begins at this probability and ends below it by 0.15.", low=0.01, high=0.99
    )
    min_speech_ms: int = parameter(64, "Shorter spans are no speech.", low=0, high=MOST_MS)
    min_silence_ms: int = parameter(
        2000, "Pauses shorter than this belong to the span: the decoder hears them as pauses.", low=0, high=MOST_MS
    )
    speech_pad_ms: int = parameter(400, "Kept before and after each span.", low=0, high=MOST_MS)
    threads: int = parameter(0, "Files that are judged at the same time, each on a core; 0: one for each core.", low=0)
    max_waiting_mb: int = parameter(
        1024, "Sound that may wait, but for live speech; beyond it a request is refused at once.", low=1
    )
