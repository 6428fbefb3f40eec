"""Canaries: a little sound on the whole way of a file and of a live stream, where nobody's request went it lately."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from frontend.triton import probes
from frontend.triton.client import TritonClient
from frontend.triton.probes import Answer
from frontend.triton.profiles import SERVED
from frontend.triton.streaks import Streaks


class Canaries:
    """What is on its way, and when a request or a canary last came out at the end of each."""

    def __init__(self, client: TritonClient, every_s: float, patience_s: float) -> None:
        """every_s: a way that nobody's request went for so long is gone by a canary; patience_s: how long it may take,
        on a processor that is slow or has a long line before it."""
        self._client = client
        self._every_s = every_s
        self._patience_s = patience_s
        self._sent: dict[str, asyncio.Task[Answer]] = {}
        self._sent_at: dict[str, float] = {}
        self._went: dict[str, float] = {}
        self._streaks = Streaks()

    def turn(self, names: Iterable[str], *, suspicious: bool) -> dict[str, Answer]:
        """Send those that are due, or all where something has failed; returns what those have brought that are back,
        where it is not good. An error is, once enough were brought in a row, until there is something better."""
        suspicious = suspicious or bool(self._streaks)
        answers = {}
        for name in names:
            canary = self._sent.get(name)
            if canary is not None and canary.done():
                del self._sent[name]
                answer = canary.result()
                if self._streaks.judged(name, answer) is not Answer.ALIVE:
                    answers[name] = answer
                elif answer is Answer.ALIVE:
                    self._went[name] = time.monotonic()
            elif canary is None and probes.kind_of(name) in SERVED and (suspicious or self._is_due(name)):
                self._sent_at[name] = time.monotonic()
                sent = probes.canary(self._client.stub, name, self._patience_s)
                self._sent[name] = asyncio.create_task(sent)
            if self._streaks.is_long(name):
                answers.setdefault(name, Answer.FAILED)
        return answers

    def silent(self, names: Iterable[str]) -> dict[str, str]:
        """The ways whose end nothing has reached for `patience_s`, by what they are: `asr`, `asr_stream`."""
        now = time.monotonic()
        silent = {}
        for name in names:
            kind = probes.kind_of(name)
            if kind not in SERVED:
                continue
            self._went[name] = max(self._went.get(name, now), self._client.answered.get(name, 0.0))
            if now - self._went[name] > self._patience_s:
                silent[kind] = name
        return silent

    def recall(self) -> None:
        """What was sent before a model was lost says nothing of the new one."""
        for canary in self._sent.values():
            canary.cancel()
        self._sent.clear()
        self._went.clear()
        self._streaks.clear()

    def _is_due(self, name: str) -> bool:
        went = max(self._client.answered.get(name, 0.0), self._sent_at.get(name, 0.0))
        return time.monotonic() - went >= self._every_s
