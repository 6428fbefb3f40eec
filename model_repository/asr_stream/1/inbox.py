"""What has come for a session and is not done with: samples and commands, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .rooms import Floats
from .settings import SAMPLE_RATE_HZ, Settings

# Shorter pieces are joined: a backlog of single samples would take a hundred times its memory.
MIN_PIECE = 320
# Each may cost a question to the decoder.
MAX_COMMANDS = 100


@dataclass(frozen=True)
class Command:
    """flush, reset, end, or settings with the change that is asked for."""

    name: str
    change: Callable[[Settings], Settings] | None = None


@dataclass(frozen=True)
class _Mark:
    """A place behind samples, and whom to tell when they are heard."""

    tell: Callable[[], None]


class SessionEnded(Exception):
    """The session takes nothing more."""


class Inbox:
    """Filled and emptied on one event loop."""

    def __init__(self, max_backlog_s: float) -> None:
        """max_backlog_s: of samples that may wait."""
        self._max_backlog_s = max_backlog_s
        self._items: deque[Floats | Command | _Mark] = deque()
        self._num_samples = 0
        self._num_commands = 0
        self._due: list[Callable[[], None]] = []
        self._arrived = asyncio.Event()
        self._awaited = False
        # Whether the last command was the end, or nobody takes anything out any more.
        self.ended = False

    @property
    def resting(self) -> bool:
        """Whether everything that came is done with, and more is waited for."""
        return self._awaited and not self._arrived.is_set()

    def push(self, pcm: Floats) -> None:
        """Take the next samples, float32 16 kHz. Raises ValueError where too many wait, SessionEnded after the end."""
        self._refuse_after_the_end()
        waiting_s = self._num_samples / SAMPLE_RATE_HZ
        if waiting_s + pcm.size / SAMPLE_RATE_HZ > self._max_backlog_s:
            raise ValueError(f"{waiting_s:.0f} s of audio wait to be heard: send no faster than they are taken")
        self._num_samples += pcm.size
        last = self._items[-1] if self._items else None
        if isinstance(last, np.ndarray) and last.size < MIN_PIECE:
            self._items.pop()
            pcm = np.concatenate([last, pcm])
        self._put(pcm)

    def command(self, name: str, change: Callable[[Settings], Settings] | None = None) -> None:
        """Take a command at its place among the samples. Raises ValueError where too many wait, SessionEnded after
        the end; an end is always taken."""
        self._refuse_after_the_end()
        if self._num_commands >= MAX_COMMANDS and name != "end":
            raise ValueError(f"{self._num_commands} commands wait to be obeyed: send no faster than they are taken")
        self._num_commands += 1
        self.ended = name == "end"
        self._put(Command(name, change))

    def when_heard(self, tell: Callable[[], None]) -> None:
        """Note whom `tell_heard` is to tell once everything that came before is taken."""
        self._put(_Mark(tell))

    async def arrival(self, timeout_s: float) -> None:
        """Return when something came since the last call; asyncio.TimeoutError where nothing comes."""
        self._awaited = True
        try:
            await asyncio.wait_for(self._arrived.wait(), timeout_s)
        finally:
            self._awaited = False
        self._arrived.clear()

    def take(self, max_samples: int) -> Command | list[Floats] | None:
        """The next command, or the samples before it in pieces, up to `max_samples`; None at the end."""
        parts: list[Floats] = []
        size = 0
        while self._items and size < max_samples:
            item = self._items[0]
            if parts and not isinstance(item, np.ndarray):
                break
            self._items.popleft()
            if isinstance(item, Command):
                self._num_commands -= 1
                return item
            if isinstance(item, _Mark):
                self._due.append(item.tell)
            else:
                part, rest = np.split(item, [max_samples - size])
                if rest.size:
                    self._items.appendleft(rest)
                parts.append(part)
                size += part.size
        self._num_samples -= size
        return parts or None

    def tell_heard(self) -> None:
        """What was taken is heard: tell those who wait for it."""
        due, self._due = self._due, []
        for tell in due:
            tell()

    def _put(self, item: Floats | Command | _Mark) -> None:
        self._items.append(item)
        self._arrived.set()

    def _refuse_after_the_end(self) -> None:
        if self.ended:
            raise SessionEnded("the session has ended: begin a new sequence")
