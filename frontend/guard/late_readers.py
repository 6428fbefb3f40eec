"""Clients that do not read what they are told, by either kind of connection."""

from __future__ import annotations

import asyncio
import time


class LateReader(asyncio.BaseProtocol):
    """Goes before the protocol whose client may be late: it knows since when that has taken nothing."""

    _late_since = 0.0

    def pause_writing(self) -> None:
        self._late_since = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._late_since = 0.0
        super().resume_writing()

    def is_late(self, now: float, most_s: float) -> bool:
        """Whether it has taken nothing for longer; now: as time.monotonic has it."""
        return bool(self._late_since) and now - self._late_since > most_s
