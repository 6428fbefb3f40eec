"""Smaller weights: int8 for any device, FP8 for GPUs that have it; on a GPU by torchao."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .products import Int8Matrix

FP8_CAPABILITY = (8, 9)


def quantizer(name: str, device: torch.device) -> Callable[[Tensor], Tensor | Int8Matrix] | None:
    """What makes a matrix [out, in] into its quantized form, or None for `none`.

    int8: weights in 8 bits with a scale for each row, products in the dtype of the activations, on a CPU in bfloat16
    (torchao's are, from float32 activations, many times slower than plain ones there). fp8: weights and, row
    by row as they come, activations in E4M3. Raises ValueError where the name is unknown or the device cannot do it,
    RuntimeError where torchao is missing.
    """
    if name == "none":
        return None
    if name not in ("int8", "fp8"):
        raise ValueError(f"quantization must be none, int8 or fp8, not {name!r}")
    if name == "fp8":
        _check_fp8(device)
    elif device.type == "cpu":
        return Int8Matrix
    try:
        from torchao.quantization import (
            Float8DynamicActivationFloat8WeightConfig,
            Int8WeightOnlyConfig,
            PerRow,
            quantize_,
        )
    except ImportError as error:
        raise RuntimeError(f"quantization {name} needs the package torchao: {error}") from error
    config = Int8WeightOnlyConfig() if name == "int8" else Float8DynamicActivationFloat8WeightConfig(PerRow())

    def quantize(weight: Tensor) -> Tensor:
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        linear.weight = nn.Parameter(weight, requires_grad=False)
        quantize_(linear, config)
        return linear.weight

    return quantize


def _check_fp8(device: torch.device) -> None:
    if device.type != "cuda":
        raise ValueError(f"quantization fp8 needs a CUDA device of compute capability 8.9 or newer, not {device.type}")
    found = torch.cuda.get_device_capability(device)
    if found < FP8_CAPABILITY:
        raise ValueError(
            f"quantization fp8 needs compute capability 8.9 or newer (RTX 4090, L40S, H100); "
            f"{torch.cuda.get_device_name(device)} has {found[0]}.{found[1]}: use int8 or none"
        )
