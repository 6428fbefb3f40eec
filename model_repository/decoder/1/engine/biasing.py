"""Hotwords while an answer is decoded: a phrase is tried where it costs little, and kept only if all of it is there.

Greedy decoding takes the likeliest token each time. Here a token that goes on with a phrase may be taken in its place,
as long as what the phrase's tokens have been less likely by, all together, stays within the phrase's allowance. Until
the phrase is complete that is an attempt: where it ends unfinished, everything of it is given back, and the answer goes
on with the likeliest token where it had left that. So what is written down depends on the tokens' probabilities alone:
not on drafts, sessions, or who else is in the batch; and half a phrase is never left over.

Contextual biasing with scores that are given back is usual in beam search (Zhao et al., "Shallow-Fusion End-to-End
Contextual Biasing", 2019); one hypothesis that can go back gives the same promise without the beams.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import or_

import numpy as np
from numpy.typing import NDArray

from .hotwords import Hotwords, Node, Walk

# Tokens in place of the likeliest one that are tried at one place.
MOST_AT_A_PLACE = 3
# Attempts that may be given back: so many, and one for so many tokens of the answer.
GIVEN_BACK, TOKENS_FOR_ONE = 16, 2


@dataclass(frozen=True)
class Taken:
    """The token to go on with, and its log-probability. kept: so many tokens of the answer stay; draft: what is now
    foreseen behind this token, None as it was."""

    token: int
    logprob: float
    kept: int
    draft: list[int] | None = None


@dataclass(frozen=True)
class _Option:
    token: int
    logprob: float
    nodes: tuple[Node, ...]


@dataclass
class _Attempt:
    """start: the tokens before it; held: of these, what may not be told yet for other reasons; free: the token that
    would have been taken; rest: what the draft foresaw behind that; walk: where the answer was; others: what else may
    be tried there; nodes: how far the phrase has come."""

    start: int
    held: int
    free: int
    free_logprob: float
    rest: list[int]
    walk: Walk
    others: list[_Option]
    nodes: tuple[Node, ...] = ()
    spent: float = 0.0
    is_complete: bool = False


@dataclass
class Biasing:
    """One answer's. num_kept, num_given_back: attempts that became a phrase, and those that did not."""

    hotwords: Hotwords
    num_kept: int = 0
    num_given_back: int = 0
    _walk: Walk = field(init=False)
    _attempt: _Attempt | None = None
    # Where an attempt last became a phrase, and its bits: it is not led to once more right behind itself, or what costs
    # little would be written again and again.
    _last: tuple[int, int] = (-1, 0)

    def __post_init__(self) -> None:
        self._walk = self.hotwords.begin()

    def num_held(self, length: int) -> int:
        """Of an answer of so many tokens, how many at its end may still be taken back."""
        return 0 if self._attempt is None else length - self._attempt.start + self._attempt.held

    @property
    def is_trying(self) -> bool:
        return self._attempt is not None

    def watched(self, draft: Sequence[int], count: int) -> list[NDArray[np.int64]]:
        """Tokens whose log-probabilities are needed: after the answer, and after each of the draft's tokens, `count`
        in all."""
        walk, watched = self._walk, []
        for place in range(count):
            watched.append(walk.wanted)
            if place < count - 1:
                walk = walk.after(draft[place])
        return watched

    def take(
        self,
        length: int,
        room: int,
        free: int,
        logprob: float,
        scores: NDArray[np.float32],
        draft: Sequence[int],
        *,
        is_end: bool,
        held: int = 0,
    ) -> Taken:
        """Choose the next token of an answer that has `length` of them and place for `room` more.

        free: the token that would be taken without hotwords, and its log-probability; scores: log-probabilities of
        what `watched` says; draft: tokens that were foreseen from here on; is_end: whether `free` ends the answer;
        held: tokens at the answer's end that may not be told yet.
        """
        attempt = self._attempt
        if attempt is not None and attempt.is_complete:
            if not self.hotwords.goes_on(free):
                self.num_kept += 1
                self._last = length, functools.reduce(or_, (node.ended for node in attempt.nodes))
                self._attempt = attempt = None
            elif not any(free in node.children for node in attempt.nodes):
                # A longer word begins with the phrase's letters.
                return self._give_back(attempt)
        if attempt is not None:
            return self._go_on(attempt, length, free, logprob, scores)
        # Where nothing more is said no phrase begins, but one may go on.
        depth = 0 if is_end else self._walk.depth(free)
        just = self._last[1] if self._last[0] == length else 0
        may_try = self.num_given_back < GIVEN_BACK + length // TOKENS_FOR_ONE
        options = self._options(room, depth, just, free, logprob, scores) if may_try else []
        if not options:
            return self._advance(Taken(free, logprob, length))
        rest = list(draft[1:]) if draft and draft[0] == free else []
        attempt = _Attempt(length, held, free, logprob, rest, self._walk, options)
        return self._try_next(attempt, restored=False)

    def _options(
        self, room: int, depth: int, just: int, free: int, logprob: float, scores: NDArray[np.float32]
    ) -> list[_Option]:
        """What may be tried in place of a token: what goes on with most of a phrase first, then the likeliest.

        depth: tokens of the longest beginning that the answer goes on with by itself: it is led to no shorter one;
        just: bits of the phrase that has just been written.
        """
        options = []
        # There are hundreds, of which one or none is near enough.
        for place in np.flatnonzero(logprob - scores <= self._walk.allowances).tolist():
            token, own = int(self._walk.wanted[place]), float(scores[place])
            if token == free or self._walk.depth(token) <= depth:
                continue
            nodes = tuple(
                node
                for node in self._walk.children(token)
                if logprob - own <= node.allowance and node.longest < room and node.numbers & ~just
            )
            if nodes:
                options.append(_Option(token, own, nodes))
        options.sort(key=lambda option: (-self._walk.depth(option.token), -option.logprob))
        return options[:MOST_AT_A_PLACE]

    def _go_on(self, attempt: _Attempt, length: int, free: int, logprob: float, scores: NDArray[np.float32]) -> Taken:
        """The likeliest token that goes on with the phrase, where its cost is within what is left."""
        going: dict[int, tuple[Node, ...]] = {}
        for node in attempt.nodes:
            for token, child in node.children.items():
                going[token] = (*going.get(token, ()), child)
        places = self._walk.places
        token = free if free in going else max(going, key=lambda one: float(scores[places[one]]))
        own = logprob if token == free else float(scores[places[token]])
        spent = attempt.spent + max(0.0, logprob - own)
        nodes = tuple(node for node in going[token] if spent <= node.allowance)
        if not nodes:
            return self._give_back(attempt)
        return self._reach(attempt, nodes, spent, Taken(token, own, length))

    def _reach(self, attempt: _Attempt, nodes: tuple[Node, ...], spent: float, taken: Taken) -> Taken:
        attempt.nodes, attempt.spent = nodes, spent
        attempt.is_complete = any(node.ended for node in nodes)
        self._attempt = attempt
        return self._advance(taken)

    def _give_back(self, attempt: _Attempt) -> Taken:
        self.num_given_back += 1
        self._walk, self._attempt = attempt.walk, None
        return self._try_next(attempt, restored=True)

    def _try_next(self, attempt: _Attempt, *, restored: bool) -> Taken:
        """Begin with the next phrase at the attempt's place, or go on there as if nothing had been tried."""
        if attempt.others:
            option = attempt.others.pop(0)
            spent = max(0.0, attempt.free_logprob - option.logprob)
            taken = Taken(option.token, option.logprob, attempt.start, [] if restored else None)
            return self._reach(attempt, option.nodes, spent, taken)
        return self._advance(Taken(attempt.free, attempt.free_logprob, attempt.start, attempt.rest))

    def _advance(self, taken: Taken) -> Taken:
        self._walk = self._walk.after(taken.token)
        return taken
