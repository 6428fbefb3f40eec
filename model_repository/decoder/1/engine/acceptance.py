"""What a step's tokens make of a sequence: those that decoding one by one would have chosen are appended to it."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from .biasing import Taken
from .sequence import Sequence

# Log-probabilities.
Scores = NDArray[np.float32]
NONE = np.empty(0, dtype=np.float32)


def accept(
    sequence: Sequence,
    tokens: list[int],
    logprobs: list[float],
    watched: Mapping[int, Scores],
    end_ids: Collection[int],
) -> tuple[str, int]:
    """Append the tokens, as far as the draft foresaw them; returns why the answer ends here, "" where it does not, and
    how many were appended.

    tokens: those after the sequence's rows, one and as many as draft tokens were in this step, and their
    log-probabilities; watched: by place among them, the log-probabilities that its hotwords want. The token after the
    last foreseen one comes for free; what follows in the draft was computed in vain and is forgotten, its place in the
    KV cache taken by the next token. Raises ArithmeticError where the network computed no numbers.
    """
    sequence.timings.first_token = sequence.timings.first_token or time.monotonic()
    params, reason, count = sequence.params, "", 0
    for index, (token, logprob) in enumerate(zip(tokens, logprobs, strict=True)):
        if not math.isfinite(logprob):
            raise ArithmeticError("the network computed no numbers for this request")
        may_end = len(sequence.output_ids) >= params.min_new_tokens
        goes_back = False
        if sequence.biasing is not None:
            taken = _biased(sequence, token, logprob, watched.get(index, NONE), is_end=token in end_ids)
            token, logprob, goes_back = taken.token, taken.logprob, taken.draft is not None
        if token in end_ids:
            reason = "stop"
            break
        sequence.output_ids.append(token)
        sequence.unshown.append((token, logprob))
        count += 1
        # What is tried may be no loop: it is looked at again behind it.
        is_trying = sequence.biasing is not None and sequence.biasing.is_trying
        if params.repetition_guard and sequence.guard.push(token) and may_end and not is_trying:
            reason = "repetition"
            break
        if len(sequence.output_ids) >= params.max_new_tokens:
            reason = "length"
            break
        if goes_back:
            # What is foreseen now begins behind this token; the other rows stand behind one that was given back.
            break
        if not sequence.draft or sequence.draft.pop(0) != token:
            sequence.draft.clear()
            break
        sequence.num_accepted += 1
        # The last row's token was foreseen too, but not yet computed.
        sequence.num_computed += index + 1 < len(tokens)
    # From the first token on that the draft network did not foresee, it has to compute anew.
    sequence.draft_computed = min(sequence.draft_computed, sequence.num_tokens - 1)
    return reason, count


def _biased(sequence: Sequence, token: int, logprob: float, scores: Scores, *, is_end: bool) -> Taken:
    """The token with the request's hotwords, for which some before it may have been given back."""
    assert sequence.biasing is not None
    length = len(sequence.output_ids)
    room = sequence.params.max_new_tokens - length
    taken = sequence.biasing.take(
        length, room, token, logprob, scores, sequence.draft, is_end=is_end, held=sequence.guard.num_held
    )
    if taken.draft is not None:
        sequence.give_back(length - taken.kept)
        sequence.draft = taken.draft
    return taken
