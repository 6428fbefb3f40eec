"""The parameters of the aligner."""

from __future__ import annotations

from dataclasses import dataclass

from .declaration import Declared, parameter

# Of one clip: 3,900 of five minutes' audio, and nine words a second of three, more than anybody says.
MAX_CLIP_ROWS = 12_288


@dataclass(frozen=True)
class Parameters(Declared):
    checkpoint: str = parameter(
        "checkpoint", "Weights, tokenizer and aligner.json; a relative path is inside of this version's folder."
    )
    device: str = parameter("cpu", "cpu, cuda, or cuda:1. On a GPU other parameters have other defaults.")
    dtype: str = parameter(
        "auto",
        "float32; bfloat16 (GPUs since Ampere); float16; auto: on such GPUs bfloat16, on older ones float16, on a CPU "
        "float32.",
        one_of=("auto", "float32", "bfloat16", "float16"),
    )
    num_threads: int = parameter(0, "Threads of one run; 0: one for each ten million weights, up to every core.", low=0)
    max_rows_per_run: int = parameter(
        1024,
        "Rows (13 for a second of audio, and about four for a word) of the clips that share a run; a clip that has "
        "more, up to 12,288, makes its run alone.",
        on_cuda=8192,
        low=1,
    )
    max_waiting_mb: int = parameter(
        512, "Embeddings that may wait, but for live speech; beyond it a request is refused at once.", low=1
    )
