"""When the next hypothesis of an utterance is due."""

from __future__ import annotations

import asyncio
import time

from .settings import Settings


class Pacing:
    """Enough new audio with voice in it, and a pause since the last step."""

    def __init__(self, pause_s: float) -> None:
        """pause_s: the least between two steps. Faster than real time there is always enough new audio: files get their
        turns in the pauses."""
        self._pause_s = pause_s
        self._stepped_at = -1e9
        # The sample behind the newest hypothesis, or the utterance's first.
        self.heard_to = 0

    def begin(self, sample: int) -> None:
        """An utterance begins there."""
        self.heard_to = sample

    def heard(self, sample: int) -> None:
        """There is a hypothesis up to this sample."""
        self.heard_to = sample

    def is_due(self, end: int, settings: Settings, last_voice: int) -> bool:
        """Whether what came up to the sample `end` is worth a step. last_voice: the last sample with voice."""
        if end - self.heard_to < settings.partial_interval:
            return False
        return settings.vad == "off" or last_voice > self.heard_to

    async def turn(self) -> None:
        """Return when a step may begin, which it does now."""
        pause_s = self._stepped_at + self._pause_s - time.monotonic()
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        self._stepped_at = time.monotonic()
