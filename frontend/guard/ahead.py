"""Sound that comes faster than it can be spoken: one client's must not take the turns of all others."""

from __future__ import annotations

import asyncio
import time


class Ahead:
    """How far a stream is ahead of the clock. A pause of the client's gives it nothing in advance."""

    def __init__(self) -> None:
        # When all that was sent would have been spoken.
        self._spoken_at = time.monotonic()

    def sent(self, seconds: float) -> None:
        """So much sound came."""
        self._spoken_at = max(self._spoken_at, time.monotonic()) + seconds

    @property
    def seconds(self) -> float:
        """How far it is ahead; negative where the clock is."""
        return self._spoken_at - time.monotonic()

    async def wait(self, ahead_s: float) -> None:
        """Return when it is no more than ahead_s ahead."""
        wait_s = self.seconds - ahead_s
        if wait_s > 0:
            await asyncio.sleep(wait_s)


class Turns:
    """Messages a second: `per_s` on average, `most` at once after a quiet while."""

    def __init__(self, per_s: float, most: float) -> None:
        self._ahead = Ahead()
        self._cost_s = 1 / per_s
        self._most_s = most / per_s

    async def take(self) -> None:
        """Return when the next one may be taken."""
        self._ahead.sent(self._cost_s)
        await self._ahead.wait(self._most_s)
