"""A model that loops says the same again and again until its tokens run out. This notices, and keeps the loop short.

Real speech repeats itself as well: digits, a chorus, somebody who says no. What tells them apart is time: speech has
only so many tokens a second. So a loop is a tail of many equal copies in an answer that is longer than its audio could
be. Until that is decided, the copies beyond the first few are held back; if the answer goes on otherwise, they go out.
"""

from __future__ import annotations

from collections.abc import Iterable

MAX_PERIOD = 16
MIN_COPIES = 20
KEPT_COPIES = 3
# The fastest talkers reach six or seven syllables a second.
TOKENS_PER_S = 8.0
EMBEDDINGS_PER_S = 13.0


class RepetitionGuard:
    """Watches the tokens of one answer as they are chosen."""

    def __init__(self, audio_rows: int) -> None:
        """audio_rows: embeddings of the whole audio, 13 a second."""
        self._ids: list[int] = []
        # For each period, how many of the last tokens equal the one that many places before.
        self._equal = [0] * (MAX_PERIOD + 1)
        self._plausible = TOKENS_PER_S * audio_rows / EMBEDDINGS_PER_S
        self.num_held = 0

    def anew(self, ids: Iterable[int]) -> RepetitionGuard:
        """One that has watched these tokens of the same answer."""
        guard = RepetitionGuard(0)
        guard._plausible = self._plausible
        for token in ids:
            guard.push(token)
        return guard

    def push(self, token: int) -> bool:
        """Take the next token; True where the answer is a loop, of which the last `num_held` tokens should go.

        Otherwise `num_held` of the last tokens are not to be shown yet.
        """
        ids = self._ids
        ids.append(token)
        for period in range(1, min(MAX_PERIOD, len(ids) - 1) + 1):
            self._equal[period] = self._equal[period] + 1 if ids[-1 - period] == token else 0
        self.num_held = 0
        loops = False
        for period in range(1, MAX_PERIOD + 1):
            length = self._equal[period] + period
            if length > KEPT_COPIES * period:
                # The longest is what is held: what was shown once is never taken back.
                self.num_held = max(self.num_held, length - KEPT_COPIES * period)
                loops = loops or length >= MIN_COPIES * period
        return loops and len(ids) > self._plausible
