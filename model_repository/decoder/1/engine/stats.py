"""What an engine counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class EngineStats:
    """Counts since the start; written by the engine's thread, read by anybody."""

    steps: int = 0
    step_seconds: float = 0.0
    computed_tokens: int = 0
    generated_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0


@dataclass(frozen=True)
class Figures:
    """What is published of an engine. counters: since its start, those that it has; running, waiting: sequences by
    priority; kv_tokens: of the KV cache in use; sessions: that keep blocks."""

    counters: Mapping[str, float]
    running: Mapping[int, int] = field(default_factory=dict)
    waiting: Mapping[int, int] = field(default_factory=dict)
    kv_tokens: int = 0
    sessions: int = 0


@dataclass(frozen=True)
class Progress:
    """working: whether there is anything to compute. step_s: how long the step of now has taken so far, 0 between two.
    longest_step_s: of those that ended. files: sequences that run or wait, but for those of live sessions."""

    working: bool
    step_s: float
    longest_step_s: float
    files: int
