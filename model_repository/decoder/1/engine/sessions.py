"""What a stream keeps in the KV cache between its requests: the prompt's head and the blocks that will not change.

A request of a session may leave out blocks that it sent before. If their keys and values are still here, only what is
new is computed; if they were evicted, the answer says so and the caller sends all blocks again.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..network.kv_cache import Extent, ExtentAllocator


@dataclass(frozen=True)
class SessionRequest:
    """A sequence's part in a session, in rows of audio embeddings.

    cached_rows: rows that were left out, because an earlier request of the session brought them.
    keep_rows: rows from the clip's beginning to keep for the next request; 0 ends the session.
    """

    name: str
    cached_rows: int = 0
    keep_rows: int = 0


@dataclass
class Kept:
    """Keys and values at the start of `extent`: the tokens `before`, then `num_rows` rows of audio."""

    before: list[int]
    num_rows: int
    extent: Extent
    priority: int
    last_used: float

    @property
    def num_tokens(self) -> int:
        return len(self.before) + self.num_rows


class SessionCache:
    """The kept prefixes by session name; owned by the engine's thread alone."""

    def __init__(self, extents: ExtentAllocator, idle_s: float) -> None:
        """idle_s: a session that is not used for so long is forgotten."""
        self._extents = extents
        self._idle_s = idle_s
        self._kept: dict[str, Kept] = {}
        self.num_evicted = 0

    def __len__(self) -> int:
        return len(self._kept)

    def has(self, request: SessionRequest, before: list[int]) -> bool:
        """Whether what the request left out is here, after the same prompt."""
        kept = self._kept.get(request.name)
        return kept is not None and kept.num_rows >= request.cached_rows and kept.before == before

    def take(self, name: str) -> Kept | None:
        """Hand a session's prefix over to a sequence that goes on with it; the extent is the caller's now."""
        return self._kept.pop(name, None)

    def keep(self, name: str, kept: Kept) -> None:
        """Keep a prefix; what its extent has beyond it is free again."""
        self.end(name)
        kept.extent = self._extents.shrink(kept.extent, kept.num_tokens)
        self._kept[name] = kept

    def end(self, name: str) -> None:
        """Forget a session, if it is known."""
        kept = self._kept.pop(name, None)
        if kept is not None:
            self._extents.release(kept.extent)

    def expire(self, now: float) -> None:
        for name in [name for name, kept in self._kept.items() if now - kept.last_used > self._idle_s]:
            self.end(name)

    def evict_one(self, level: int, spared: str | None = None) -> bool:
        """Make room for a sequence of this priority level: forget the least urgent, then least recently used session
        that is no more urgent than it. Returns False where there is none.
        """
        names = [name for name, kept in self._kept.items() if kept.priority >= level and name != spared]
        if not names:
            return False
        self.end(min(names, key=lambda name: (-self._kept[name].priority, self._kept[name].last_used)))
        self.num_evicted += 1
        return True
