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
        "Blocks of one run: bounds the memory of the convolutions (about 50 MB a block at the 0.6B dimensions). "
        "On a CPU at most 4: more are no faster there.",
        low=1,
    )
    runs_at_once: int = parameter(
        0,
        "Runs for files that may be made at the same time, and one more for live speech. 0: as many as half of the "
        "cores have threads for, and on a GPU one.",
        low=0,
    )
    max_waiting_mb: int = parameter(
        1024, "MEL that may wait, but for live speech; beyond it a request is refused at once.", low=1
    )
