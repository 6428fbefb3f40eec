"""Phrases to listen for, as a trie over token ids that an answer is walked along."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

# Walks that are kept, as most answers are at the same few places of a trie; then all are forgotten.
MOST_WALKS = 256


@dataclass(frozen=True)
class Phrase:
    """number: how it is told from others, however it is written as tokens; ids: these; allowance: by how many nats they
    may be less likely, all together, than the likeliest ones; anywhere: it may follow letters, as in scripts without
    spaces; bare: it begins without the space by which words of other scripts are told apart, and so only where none is
    needed."""

    number: int
    ids: tuple[int, ...]
    allowance: float
    anywhere: bool = False
    bare: bool = False


@dataclass(slots=True)
class Node:
    """A phrase's beginning. allowance: the largest of the phrases that go on from here; longest: tokens that the
    longest of them has after this one; numbers: a bit for each of them; ended: for those that end here."""

    children: dict[int, Node] = field(default_factory=dict)
    allowance: float = 0.0
    longest: int = 0
    numbers: int = 0
    ended: int = 0

    def add(self, phrase: Phrase) -> None:
        node, bit = self, 1 << phrase.number
        for place, token in enumerate(phrase.ids):
            node.longest = max(node.longest, len(phrase.ids) - place)
            node = node.children.setdefault(token, Node())
            node.numbers |= bit
            node.allowance = max(node.allowance, phrase.allowance)
        node.ended |= bit


class Hotwords:
    """All phrases of a request; requests with the same ones share it."""

    def __init__(
        self,
        phrases: Iterable[Phrase],
        mark: int | None,
        opens: Callable[[int], bool] = lambda token: False,
        goes_on: Callable[[int], bool] = lambda token: False,
    ) -> None:
        """mark: the token after which the text begins, None where an answer is nothing but text. opens: whether a word
        may begin after this token without a space; goes_on: whether a token goes on with the word before it."""
        self._words, self._bare = Node(), Node()
        for phrase in phrases:
            if phrase.bare and not phrase.anywhere:
                self._bare.add(phrase)
            else:
                self._words.add(phrase)
        self._mark = mark
        self._opens = opens
        self.goes_on = goes_on
        self._walks: dict[tuple[int, ...], Walk] = {}
        self._before = Walk(self, (), in_text=False)

    def begin(self) -> Walk:
        """Where an answer begins."""
        return self._before if self._mark is not None else self._at([], at_start=True)

    def after(self, walk: Walk, token: int) -> Walk:
        """Where the answer is with one more token."""
        if not walk.in_text:
            return self._at([], at_start=True) if token == self._mark else walk
        going = [(node.children[token], depth + 1) for node, depth in walk.nodes if token in node.children]
        return self._at(going, at_start=self._opens(token))

    def _at(self, going: list[tuple[Node, int]], *, at_start: bool) -> Walk:
        """The walk at these beginnings. at_start: a word may begin without a space."""
        # The nodes live as long as this, so their addresses are theirs.
        key = (at_start, *(id(node) for node, _ in going))
        walk = self._walks.get(key)
        if walk is None:
            if len(self._walks) >= MOST_WALKS:
                self._walks.clear()
            roots = [(self._words, 0), (self._bare, 0)] if at_start else [(self._words, 0)]
            walk = self._walks[key] = Walk(self, (*going, *roots), in_text=True)
        return walk


@dataclass(frozen=True)
class Walk:
    """The beginnings of phrases that an answer ends with, and how many tokens each has; the longest first."""

    hotwords: Hotwords
    nodes: tuple[tuple[Node, int], ...]
    in_text: bool

    def after(self, token: int) -> Walk:
        return self.hotwords.after(self, token)

    @cached_property
    def wanted(self) -> NDArray[np.int64]:
        """Tokens that go on with a phrase, each once."""
        return np.array(list(self.places), dtype=np.int64)

    @cached_property
    def places(self) -> dict[int, int]:
        """Where each of these tokens stands among them."""
        tokens = dict.fromkeys(token for node, _ in self.nodes for token in node.children)
        return {token: place for place, token in enumerate(tokens)}

    @cached_property
    def allowances(self) -> NDArray[np.float32]:
        """By how many nats each of them may be less likely at most."""
        return np.array([max(n.allowance for n in self.children(token)) for token in self.places], dtype=np.float32)

    def depth(self, token: int) -> int:
        """Of the longest beginning that this token goes on with; -1 where there is none."""
        return next((depth for node, depth in self.nodes if token in node.children), -1)

    def children(self, token: int) -> tuple[Node, ...]:
        """What the longest beginning that this token goes on with becomes, and the others as long."""
        depth = self.depth(token)
        return tuple(node.children[token] for node, own in self.nodes if own == depth and token in node.children)
