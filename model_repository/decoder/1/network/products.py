"""A matrix of the network as its products are fastest: x [T, in] -> [T, out]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Product = Callable[[Tensor], Tensor]
# Smaller matrices stay in the cores' caches, and a packed product's own overhead shows.
PACKED_FROM = 1 << 19
# From so many rows on, unpacking eight bits once and multiplying in bfloat16 takes less time than PyTorch's kernel,
# which unpacks them for every few rows anew.
UNPACKED_FROM_ROWS = 48
# The sides of a matrix are multiples of it for that kernel, which reads whole vectors and not where they end.
WHOLE_VECTORS = 32
# Weights that are unpacked at a time: what comes of them is still in the caches when it is multiplied.
UNPACKED_WEIGHTS = 1 << 22


class Int8Matrix:
    """A matrix on a CPU in eight bits, with a scale for each of its rows; its products are in bfloat16, whatever the
    activations are, because PyTorch's kernel is 30 times slower in float32."""

    def __init__(self, weight: Tensor) -> None:
        """weight [out, in], which may be freed afterwards."""
        scale = weight.abs().amax(dim=1).float().clamp_(min=1e-12) / 127
        # Rounded before it is divided by: so it adds no error of its own.
        self.scale = scale.bfloat16()
        self.values = torch.empty(weight.shape, dtype=torch.int8)
        self._has_kernel = all(side % WHOLE_VECTORS == 0 for side in weight.shape)
        # Part by part: a head's 150,000 rows would be there in float32 again.
        step = max(1, UNPACKED_WEIGHTS // weight.shape[1])
        for first in range(0, weight.shape[0], step):
            part = weight[first : first + step].float() / self.scale[first : first + step, None].float()
            self.values[first : first + step] = part.round_().clamp_(-127, 127)

    def dequantized(self) -> Tensor:
        """float32 [out, in]."""
        return self.values.float() * self.scale[:, None].float()

    def __call__(self, x: Tensor) -> Tensor:
        """x [T, in] -> [T, out] in the dtype of x."""
        rows = x.to(torch.bfloat16)
        if self._has_kernel and x.shape[0] < UNPACKED_FROM_ROWS:
            return torch._weight_int8pack_mm(rows.contiguous(), self.values, self.scale).to(x.dtype)
        out = torch.empty(x.shape[0], self.values.shape[0], dtype=x.dtype)
        step = max(1, UNPACKED_WEIGHTS // self.values.shape[1])
        for first in range(0, self.values.shape[0], step):
            # Eight bits are whole numbers, which bfloat16 holds exactly; the scale comes after.
            part = functional.linear(rows, self.values[first : first + step].to(torch.bfloat16))
            torch.mul(part.to(x.dtype), self.scale[first : first + step].to(x.dtype), out=out[:, first : first + step])
        return out


class HalfMatrix:
    """A matrix on a CPU in float16, multiplied by float32 activations and summed in float32 (FBGEMM's kernel, which
    unpacks to float32 in registers): half the bytes, and nothing lost where the weights were float16 or bfloat16 in the
    checkpoint."""

    def __init__(self, packed: object, scale: float) -> None:
        self._packed = packed
        self._scale = scale

    @classmethod
    def lossless(cls, weight: Tensor) -> HalfMatrix | None:
        """float32 weight [out, in], or None where float16 would lose of it."""
        _, exponent = torch.frexp(weight.abs().amax())
        # A power of two, so that the largest weights are near float16's largest and the smallest are not rounded.
        scale = 2.0 ** (14 - int(exponent))
        step = max(1, UNPACKED_WEIGHTS // weight.shape[1])
        for part in weight.split(step):
            lifted = part * scale
            # What float16 cannot tell from zero there is 2 ** 38 times smaller than the largest.
            if not torch.allclose(lifted.half().float(), lifted, rtol=0.0, atol=2.0**-25):
                return None
        return cls(torch.ops.quantized.linear_prepack_fp16(weight * scale, None), 1.0 / scale)

    def __call__(self, x: Tensor) -> Tensor:
        """float32 [T, in] -> [T, out]."""
        return torch.ops.quantized.linear_dynamic_fp16(x, self._packed).mul_(self._scale)


def product(weight: Tensor | Int8Matrix, *, packed: bool = True) -> Product:
    """weight [out, in], plain or quantized.

    On a CPU a large one is laid out anew, once, as oneDNN's kernels read it: for 4 to 16 rows, the decoding of as many
    sequences, `linear` takes three to four times as long, and for a prompt's hundreds of rows half as long again. One
    in float32 that float16 holds without loss is kept in that. The weight itself may be freed afterwards. packed: False
    leaves it as it is.
    """
    if isinstance(weight, Int8Matrix):
        return weight
    if not packed or not packable(weight):
        return lambda x: functional.linear(x, weight)
    if weight.dtype == torch.float32 and "fbgemm" in torch.backends.quantized.supported_engines:
        half = HalfMatrix.lossless(weight)
        if half is not None:
            return half
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
