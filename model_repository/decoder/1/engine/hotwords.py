"""Phrases to listen for, as a trie over token ids that an answer is walked along."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Phrase:
    """name: how it is told from others, however it is written as tokens; ids: these; allowance: by how many nats they
    may be less likely, all together, than the likeliest ones; anywhere: it may follow letters, as in scripts without
    spaces; bare: it begins without the space by which words of other scripts are told apart, and so only where none is
    needed."""

    name: str
    ids: tuple[int, ...]
    allowance: float
    anywhere: bool = False
    bare: bool = False


@dataclass
class Node:
    """A phrase's beginning. allowance: the largest of the phrases that go on from here; longest: tokens that the
    longest of them has after this one; names: of all of them; ended: of those that end here."""

    children: dict[int, Node] = field(default_factory=dict)
    allowance: float = 0.0
    longest: int = 0
    names: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)

    def add(self, phrase: Phrase) -> None:
        node = self
        for place, token in enumerate(phrase.ids):
            node.longest = max(node.longest, len(phrase.ids) - place)
            node = node.children.setdefault(token, Node())
            node.names.add(phrase.name)
            node.allowance = max(node.allowance, phrase.allowance)
        node.ended.add(phrase.name)


class Hotwords:
    """All phrases of a request. Never changes, so that requests share it."""

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

    def begin(self) -> Walk:
        """Where an answer begins."""
        return Walk(self, (), in_text=False) if self._mark is not None else self._at_start()

    def after(self, walk: Walk, token: int) -> Walk:
        """Where the answer is with one more token."""
        if not walk.in_text:
            return self._at_start() if token == self._mark else walk
        going = [(node.children[token], depth + 1) for node, depth in walk.nodes if token in node.children]
        roots = [(self._words, 0), (self._bare, 0)] if self._opens(token) else [(self._words, 0)]
        return Walk(self, (*going, *roots), in_text=True)

    def _at_start(self) -> Walk:
        return Walk(self, ((self._words, 0), (self._bare, 0)), in_text=True)


@dataclass(frozen=True)
class Walk:
    """The beginnings of phrases that an answer ends with, and how many tokens each has; the longest first."""

    hotwords: Hotwords
    nodes: tuple[tuple[Node, int], ...]
    in_text: bool

    def after(self, token: int) -> Walk:
        return self.hotwords.after(self, token)

    @property
    def wanted(self) -> tuple[int, ...]:
        """Tokens that go on with a phrase, each once."""
        return tuple(dict.fromkeys(token for node, _ in self.nodes for token in node.children))

    def depth(self, token: int) -> int:
        """Of the longest beginning that this token goes on with; -1 where there is none."""
        return next((depth for node, depth in self.nodes if token in node.children), -1)

    def children(self, token: int) -> tuple[Node, ...]:
        """What the longest beginning that this token goes on with becomes, and the others as long."""
        depth = self.depth(token)
        return tuple(node.children[token] for node, own in self.nodes if own == depth and token in node.children)
