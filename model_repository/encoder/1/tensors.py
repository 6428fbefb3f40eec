"""What the encoder takes and gives, for each block of a batch. The other engines read the same from their own file."""

from .declaration import Tensor

INPUTS = (
    # [128, T]: log10 mel power, not clamped. T is 800; a stream may send its newest block with T 200 or 400.
    Tensor("MEL", "TYPE_FP32", (128, -1)),
    # Valid frames of the block.
    Tensor("FRAMES", "TYPE_INT32", (1,)),
    # The maximum of MEL over the whole clip, by which the block is clamped.
    Tensor("CLIP_MAX", "TYPE_FP32", (1,)),
)
OUTPUTS = (
    # [13 T / 100, D]; rows past the valid frames are zero.
    Tensor("EMBEDDINGS", "TYPE_FP32", (-1, -1)),
)
