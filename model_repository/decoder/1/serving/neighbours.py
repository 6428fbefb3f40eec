"""What a forced aligner beside this decoder takes of its GPU: models load in no order, so it may come later.

`python -m export memory` counts by the same function.
"""

from __future__ import annotations

from pathlib import Path

# Beside weights, at most, whatever the profile (`export memory` says it of each): of the aligner its context and the
# activations of its longest run; of its encoder a context, or what TensorRT or ONNX Runtime hold for 32 blocks.
ALIGNER_WORK, ENCODER_WORK = 13 * 2**27, 13 * 2**28
WEIGHTS = ("aligner/*/checkpoint/model*.safetensors",)
# A plan is served where there is one, else the graph.
ENGINES = ("encoder_aligner/*/model.plan", "encoder_aligner/*/model.onnx")


def gpu_of(device: str) -> int | None:
    """The number of a GPU that a parameter calls cuda or cuda:1, None for the CPU; ValueError where it is neither."""
    kind, _, number = device.partition(":")
    if device == "cpu":
        return None
    if kind != "cuda" or (number and not number.isdigit()) or device.endswith(":"):
        raise ValueError(f"a device is cpu, cuda, or a GPU by its number, such as cuda:1, not {device!r}")
    return int(number or 0)


def kept_bytes(device: str, aligner_device: str, encoder_device: str, weights: tuple[int, int]) -> int:
    """What an aligner and its encoder take of this decoder's GPU once they are loaded: 0 where they compute elsewhere,
    or none is exported.

    device: the decoder's; all as parameters name them. weights: bytes of the aligner's and of its encoder's, as
    `weights_in` reads them.
    """
    own = gpu_of(device)
    if own is None or not all(weights):
        return 0
    works = zip((aligner_device, encoder_device), weights, (ALIGNER_WORK, ENCODER_WORK), strict=True)
    return sum(size + work for where, size, work in works if gpu_of(where) == own)


def weights_in(folder: Path) -> tuple[int, int]:
    """Bytes of an aligner's weights and of its encoder's, 0 of what the repository does not have. folder: a version of
    the decoder's."""
    repository = folder.resolve().parent.parent
    weights = sum(path.stat().st_size for name in WEIGHTS for path in repository.glob(name))
    engines = [sizes for name in ENGINES if (sizes := [path.stat().st_size for path in repository.glob(name)])]
    return weights, max(engines[0]) if engines else 0
