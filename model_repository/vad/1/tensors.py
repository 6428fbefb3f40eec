"""What the voice activity detector takes and gives."""

from .declaration import Tensor

INPUTS = (
    # Needed; optional for Triton, so that vad itself answers where an ensemble's client left it out.
    Tensor("PCM", "TYPE_FP32", (-1,), optional=True),
    # The STATE of the stream's previous call; 320 zeros begin a stream. Without it PCM is a whole clip.
    Tensor("STATE", "TYPE_FP32", (-1,), optional=True),
)
OUTPUTS = (
    # One probability per 512 samples (32 ms).
    Tensor("SPEECH_PROB", "TYPE_FP32", (-1,)),
    # [S, 2] samples of this PCM: start and end of each span of speech.
    Tensor("SPEECH", "TYPE_INT32", (-1, 2)),
    Tensor("STATE", "TYPE_FP32", (-1,)),
)
