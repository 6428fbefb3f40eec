"""What the decoder takes and gives; there are many answers to a request.

Request parameters: priority_level 1 live, 2 interactive (the default), 3 bulk; max_new_tokens, min_new_tokens,
temperature, seed; hotwords (json: phrases that are written where they cost little, see engine/biasing.py); deltas
(false: one answer, at the end); repetition_guard (false lets a loop run); session, with cached_blocks (how many full
blocks are left out of EMBEDDINGS because the session sent them before) and keep_blocks (how many of all to keep for the
next request; finish_reason `evicted` asks for all blocks again), each 0 to 100,000; end_session: a name; cancel: a
request id. Names have 256 characters at the most.
"""

from .declaration import Tensor

INPUTS = (
    # [N, rows, D] blocks of one clip in order.
    Tensor("EMBEDDINGS", "TYPE_FP32", (-1, -1, -1)),
    # [N, 1] valid mel frames of each block; nothing but 0 means that nothing is said.
    Tensor("FRAMES", "TYPE_INT32", (-1, 1)),
    # A language by name or code, to be taken as given; empty or absent: recognized.
    Tensor("LANGUAGE", "TYPE_STRING", (1,), optional=True),
    # Names and words to expect.
    Tensor("CONTEXT", "TYPE_STRING", (1,), optional=True),
    # Tokens that the answer probably begins with (the previous hypothesis, or a smaller model's): verified in one pass,
    # they make the answer cheaper and never change it.
    Tensor("DRAFT_IDS", "TYPE_INT32", (-1,), optional=True),
    # The same blocks by the encoder of the draft checkpoint, where this decoder has one.
    Tensor("DRAFT_EMBEDDINGS", "TYPE_FP32", (-1, -1, -1), optional=True),
)
OUTPUTS = (
    # What this answer adds to the text; always whole characters.
    Tensor("TEXT", "TYPE_STRING", (1,)),
    # The tokens this answer adds (the language header among them), the bytes of those that are text, and
    # log-probabilities.
    Tensor("TOKEN_IDS", "TYPE_INT32", (-1,)),
    Tensor("TOKENS", "TYPE_STRING", (-1,)),
    Tensor("LOGPROBS", "TYPE_FP32", (-1,)),
    # True on the last answer, which has RESULT: json of text, language, finish_reason, usage, timings_ms.
    Tensor("FINAL", "TYPE_BOOL", (1,)),
    Tensor("RESULT", "TYPE_STRING", (1,)),
)
