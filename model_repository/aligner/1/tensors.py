"""What the aligner takes and gives. Request parameter priority_level: 1 live, 2 interactive (the default), 3 bulk."""

from .declaration import Tensor

INPUTS = (
    # [N, rows, D] blocks of one clip in order, of the encoder of the aligner's own checkpoint.
    Tensor("EMBEDDINGS", "TYPE_FP32", (-1, -1, -1)),
    # [N, 1] valid mel frames of each block.
    Tensor("FRAMES", "TYPE_INT32", (-1, 1)),
    # [S, 2] samples of the clip that the blocks were made of, joined; without it all of them, from the first on.
    Tensor("SPEECH", "TYPE_INT32", (-1, 2), optional=True),
    # What is said. Needed; optional for Triton, so that the aligner itself answers where a client left it out.
    Tensor("TEXT", "TYPE_STRING", (1,), optional=True),
    # Its language by name or code; empty or absent: words are split as most languages write them.
    Tensor("LANGUAGE", "TYPE_STRING", (1,), optional=True),
)
OUTPUTS = (
    # [W] the words of TEXT as the aligner knows them: without punctuation; of Chinese, each character.
    Tensor("WORDS", "TYPE_STRING", (-1,)),
    # [W] the same as TEXT writes them, with the blanks before each and the punctuation: joined, they are TEXT.
    Tensor("WRITTEN", "TYPE_STRING", (-1,)),
    # [W, 2] where each begins and ends, in samples of the clip.
    Tensor("SPANS", "TYPE_INT32", (-1, 2)),
    # [W] how sure that is: the geometric mean of the probabilities of both ends, 0 to 1.
    Tensor("CONFIDENCE", "TYPE_FP32", (-1,)),
)
