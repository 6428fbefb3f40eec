"""A matrix of the network as its products are fastest: x [T, in] -> [T, out]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Product = Callable[[Tensor], Tensor]
# Smaller matrices stay in the cores' caches, and a packed product's own overhead shows.
PACKED_FROM = 1 << 19


def product(weight: Tensor, *, packed: bool = True) -> Product:
    """weight [out, in], plain or quantized.

    On a CPU a large one is laid out anew, once, as oneDNN's kernels read it: for 4 to 16 rows, the decoding of as many
    sequences, `linear` takes three to four times as long, and for a prompt's hundreds of rows half as long again. The
    weight itself may be freed afterwards. packed: False leaves it as it is.
    """
    if not packed or not packable(weight):
        return lambda x: functional.linear(x, weight)
    laid_out = torch.ops.mkldnn._reorder_linear_weight(weight, None)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, laid_out, None, "none", [], "")


def packable(weight: Tensor) -> bool:
    """Whether it is a plain matrix on a CPU, of a size and dtype that gain by packing."""
    return (
        type(weight) is Tensor
        and weight.device.type == "cpu"
        and weight.dtype in (torch.float32, torch.bfloat16)
        and weight.numel() >= PACKED_FROM
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )
