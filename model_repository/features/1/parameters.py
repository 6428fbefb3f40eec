"""The parameters of the feature extractor."""

from __future__ import annotations

from dataclasses import dataclass

from .declaration import Declared, parameter


@dataclass(frozen=True)
class Parameters(Declared):
    max_blocks: int = parameter(
        64,
        "Blocks of one clip at the most; no more than the encoder's max_batch_size. 64 blocks are 512 s.",
        low=1,
        high=64,
    )
    threads: int = parameter(
        0, "Files that are worked on at the same time, each on a core; 0: one for each core.", low=0
    )
    max_waiting_mb: int = parameter(
        1024, "Sound that may wait, but for live speech; beyond it a request is refused at once.", low=1
    )
