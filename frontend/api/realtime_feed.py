"""Sound and commands to a live session, no faster than it hears them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from frontend.triton.event_times import later
from frontend.triton.journal import num_speakers
from frontend.triton.lasting_session import LastingSession

SAMPLE_RATE_HZ = 16_000
# Of one request: `asr_stream` takes a minute, and judges 16 s at a time.
PIECE = 5 * SAMPLE_RATE_HZ
# So much may be under way before it is known to be heard; whoever sends at the pace of speech is never waited for. Less
# than `asr_stream` lets wait, and than a journal keeps of silence.
AHEAD_S = 10.0
# A command may cost a question to the decoder; a hundred may wait.
COMMAND_S = 0.2
PATIENCE_S = 60.0
# A session that closed for want of sound may have missed what was sent meanwhile.
CROSSED_S = 2.0


class Feed:
    """One live session after the other, in the times of one: each lasts until no sound came for too long, and the next
    begins with the next sound. So a client that is silent for a while holds no place, and keeps its connection."""

    def __init__(self, begin: Callable[[], LastingSession], settings: Mapping[str, Any]) -> None:
        """begin: a live session; settings: the first ones, which nobody refuses."""
        self._begin = begin
        self._first = dict(settings)
        self._settings = dict(settings)
        self._sessions: asyncio.Queue[LastingSession | None] = asyncio.Queue()
        self._heard = asyncio.Event()
        self._ended = False
        # When sound came last, as time.monotonic has it.
        self.sound_at = time.monotonic()
        # Of sessions that are over.
        self._base_samples = self._base_utterances = 0
        # Who has a letter keeps it: what one session knows of voices is gone with it.
        self._num_speakers = 0
        # Of this one.
        self._samples = self._utterances = 0
        self._ahead_s, self._ahead_at = 0.0, time.monotonic()
        self._recent: deque[tuple[float, bytes, Mapping[str, Any]]] = deque()
        self._session: LastingSession | None = self._next()

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those that hold now."""
        return self._settings

    @property
    def ended(self) -> bool:
        return self._ended

    async def send(self, pcm16: bytes = b"", command: str = "") -> None:
        """Samples (int16 little-endian, 16 kHz mono), as many as there are, and then a command; waits where too much of
        what was sent is not heard yet."""
        for start in range(0, len(pcm16), 2 * PIECE):
            await self._send(pcm16[start : start + 2 * PIECE], {})
        if command:
            await self._send(b"", {"command": command})

    async def change(self, settings: Mapping[str, Any]) -> None:
        """Settings, from this place among the samples on."""
        changed = {name: value for name, value in settings.items() if self._settings.get(name) != value}
        self._settings.update(changed)
        if changed and self._session is not None:
            await self._send(b"", changed)

    def restore(self, settings: Mapping[str, Any]) -> None:
        """Settings that held before others were refused; never waits."""
        self._settings.update(settings)
        if self._session is not None:
            self._session.send(parameters=self._settings)

    def finish(self, pcm16: bytes) -> None:
        """The last samples, and the end."""
        self._ended = True
        if self._session is not None:
            self._session.send(pcm16, end=True)
        else:
            self._sessions.put_nowait(None)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """What the sessions say, until one is closed otherwise than for want of sound. Raises TritonUnavailable."""
        while True:
            session = await self._sessions.get()
            if session is None:
                return
            async for event in session.events():
                if event["type"] == "heard":
                    self._heard.set()
                    continue
                if event["type"] == "resumed" or (event["type"] == "error" and not event.get("utterance")):
                    # What was to be told as heard went with its server, or was refused.
                    self._heard.set()
                if event["type"] == "closed" and event.get("reason") == "idle" and not self._ended:
                    self._rest()
                    await session.close()
                    break
                yield self._in_the_time_of_all(event)
            else:
                return

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _send(self, pcm16: bytes, parameters: Mapping[str, Any]) -> None:
        if self._ended:
            return
        if self._session is None:
            self._session = self._next()
        now = time.monotonic()
        if pcm16:
            self.sound_at = now
        self._samples += len(pcm16) // 2
        self._recent.append((now, pcm16, parameters))
        while self._recent[0][0] < now - CROSSED_S:
            self._recent.popleft()
        self._ahead_s = max(0.0, self._ahead_s - (now - self._ahead_at))
        self._ahead_s += len(pcm16) / 2 / SAMPLE_RATE_HZ + (COMMAND_S if parameters else 0.0)
        self._ahead_at = now
        if self._ahead_s <= AHEAD_S:
            self._session.send(pcm16, parameters)
            return
        self._heard.clear()
        self._session.send(pcm16, parameters, tell_heard=True)
        # Beyond that the session says itself that it is too much.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._heard.wait(), PATIENCE_S)
        self._ahead_s, self._ahead_at = 0.0, time.monotonic()
        if self._session is not None:
            # It speaks by an open request.
            self._session.send()

    def _next(self) -> LastingSession:
        session = self._begin()
        # What is refused with its first request ends a session.
        told = {"told_speakers": self._num_speakers} if self._num_speakers else {}
        session.send(parameters={**self._first, **told})
        changed = {name: value for name, value in self._settings.items() if self._first[name] != value}
        if changed:
            session.send(parameters=changed)
        self._sessions.put_nowait(session)
        return session

    def _rest(self) -> None:
        """The session closed for want of sound."""
        since = time.monotonic() - CROSSED_S
        # Settings alone begin no session, and are the next one's first.
        crossed = [one for one in self._recent if one[0] >= since and (one[1] or "command" in one[2])]
        self._recent.clear()
        again = sum(len(pcm16) // 2 for _, pcm16, _ in crossed)
        self._base_samples += self._samples - again
        self._base_utterances += self._utterances
        self._samples, self._utterances = again, 0
        self._session = self._next() if crossed else None
        for _, pcm16, parameters in crossed:
            assert self._session is not None
            self._session.send(pcm16, parameters)
        self._heard.set()

    def _in_the_time_of_all(self, event: dict[str, Any]) -> dict[str, Any]:
        event = later(event, self._base_samples)
        self._num_speakers = max(self._num_speakers, num_speakers(event))
        if event.get("utterance"):
            self._utterances = max(self._utterances, event["utterance"])
            event["utterance"] += self._base_utterances
        return event
