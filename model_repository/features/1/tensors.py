"""What the feature extractor takes and gives.

Request parameter left_context: so many samples at the beginning belong to what came before (320 for a stream's next
frames); a single block is then only as long as it has frames.
"""

from .declaration import Tensor

INPUTS = (
    Tensor("PCM", "TYPE_FP32", (-1,)),
    # [S, 2] samples: the spans to keep, joined; none means that nothing is said.
    Tensor("SPEECH", "TYPE_INT32", (-1, 2)),
)
OUTPUTS = (
    # N blocks of 8 s (800 frames): log10 mel power, not yet clamped.
    Tensor("MEL", "TYPE_FP32", (-1, 128, -1)),
    # Valid frames of each block; one block with 0 where nothing is said.
    Tensor("FRAMES", "TYPE_INT32", (-1, 1)),
    # The maximum of MEL over the whole clip, for each block.
    Tensor("CLIP_MAX", "TYPE_FP32", (-1, 1)),
)
