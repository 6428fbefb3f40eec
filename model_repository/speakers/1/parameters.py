"""The parameters of the room that tells speakers apart."""

from __future__ import annotations

from dataclasses import dataclass

from .declaration import Declared, parameter

MOST_MS = 10_000


@dataclass(frozen=True)
class Parameters(Declared):
    threshold: float = parameter(
        0.5, "Of SPEECH_PROB: a span begins at this probability and ends below it by 0.15.", low=0.01, high=0.99
    )
    min_speech_ms: int = parameter(64, "Shorter spans are no speech.", low=0, high=MOST_MS)
    min_silence_ms: int = parameter(100, "Pauses shorter than this do not divide spans.", low=0, high=MOST_MS)
    speech_pad_ms: int = parameter(60, "Kept before and after each span.", low=0, high=MOST_MS)
    threads: int = parameter(1, "Runs for files at the same time, each on a core.", low=1)
    max_windows_per_run: int = parameter(
        32, "Windows of everybody's speech that share a run, some 2.5 ms each.", low=1, high=1024
    )
    max_waiting_mb: int = parameter(
        256, "Features that may wait, but for live speech; beyond it a request is refused at once.", low=1
    )
