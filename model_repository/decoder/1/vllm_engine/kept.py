"""What live sessions leave out of their next request: embeddings of full blocks, on the host.

vLLM keeps keys and values by what they were computed of, so a prompt that begins with the same rows finds them in its
prefix cache; the rows themselves are wanted again, and this is where they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..engine.sequence import Sequence
from ..engine.sessions import SessionRequest


@dataclass
class KeptRows:
    """rows: float32 [keep_rows, D], the audio's first ones; before: the tokens before them."""

    before: list[int]
    rows: Tensor
    priority: int
    last_used: float

    @property
    def num_bytes(self) -> int:
        return self.rows.numel() * self.rows.element_size()


class KeptEmbeddings:
    """Rows by session name, within a bound; owned by one thread."""

    def __init__(self, most_bytes: int, idle_s: float) -> None:
        """most_bytes: of all sessions; beyond it the least urgent, then least recently used one gives way. idle_s: a
        session that is not used for so long is forgotten."""
        self._most_bytes = most_bytes
        self._idle_s = idle_s
        self._kept: dict[str, KeptRows] = {}
        self.num_bytes = 0
        self.num_evicted = 0

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, sequence: Sequence) -> Tensor | None:
        """Hand over the rows that a sequence left out; None where they are not here, or follow another prompt.

        A sequence that left nothing out begins its session anew.
        """
        session = sequence.session
        kept = self._pop(session.name) if session is not None else None
        if session is None or kept is None or not session.cached_rows:
            return None
        if len(kept.rows) < session.cached_rows or kept.before != sequence.prompt.before:
            return None
        return kept.rows[: session.cached_rows]

    def keep(self, session: SessionRequest, kept: KeptRows) -> None:
        """Keep a session's rows for its next request."""
        self._pop(session.name)
        self._kept[session.name] = kept
        self.num_bytes += kept.num_bytes
        while self.num_bytes > self._most_bytes:
            self._pop(min(self._kept, key=lambda name: (-self._kept[name].priority, self._kept[name].last_used)))
            self.num_evicted += 1

    def end(self, name: str) -> None:
        """Forget a session, if it is known."""
        self._pop(name)

    def expire(self, now: float) -> None:
        for name in [name for name, kept in self._kept.items() if now - kept.last_used > self._idle_s]:
            self._pop(name)

    def _pop(self, name: str) -> KeptRows | None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self.num_bytes -= kept.num_bytes
        return kept
