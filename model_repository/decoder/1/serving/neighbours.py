"""What a forced aligner beside this decoder takes of its GPU: models load in no order, so it may come later."""

from __future__ import annotations

from pathlib import Path

# Beside weights: a context for each process, activations of its longest run, an encoder's contexts (`export memory`).
WORK_BYTES = 10 * 2**29
WEIGHTS = ("aligner/*/checkpoint/model*.safetensors",)
# A plan is served where there is one, else the graph.
ENGINES = ("encoder_aligner/*/model.plan", "encoder_aligner/*/model.onnx")


def aligner_bytes(folder: Path) -> int:
    """Bytes that it takes once it is loaded, 0 where the repository has none. folder: a version of the decoder's."""
    repository = folder.resolve().parent.parent
    weights = [path.stat().st_size for name in WEIGHTS for path in repository.glob(name)]
    engines = [sizes for name in ENGINES if (sizes := [path.stat().st_size for path in repository.glob(name)])]
    return sum(weights) + max(engines[0]) + WORK_BYTES if weights and engines else 0
