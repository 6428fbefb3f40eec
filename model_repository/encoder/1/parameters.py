"""The parameters of the encoder where Python runs it; other engines have parameters of their own."""

from __future__ import annotations

from dataclasses import dataclass

from .declaration import Declared, parameter


@dataclass(frozen=True)
class Parameters(Declared):
    execution_provider: str = parameter(
        "cpu",
        "cpu, cuda, tensorrt, or tensorrt_rtx (NVIDIA's TensorRT for RTX as a plugin: no plan to build; "
        "export/README.md); on the second GPU cuda:1.",
    )
    engine_cache: str = parameter("", "A folder where what TensorRT built is kept for the next start; empty: nowhere.")
    intra_op_num_threads: int = parameter(
        0, "Threads of one run; 0: one for each ten million weights, up to every core.", low=0
    )
    max_blocks_per_run: int = parameter(
        16,
        "Blocks of one run: bounds the memory of the convolutions (about 50 MB a block at the 0.6B dimensions).",
        low=1,
    )
