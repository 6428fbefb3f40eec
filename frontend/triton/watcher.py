"""Health as what was really answered, and models that are lost loaded again.

Triton calls a model ready although its process is dead, so every model is asked something small twice a second, and a
canary goes the whole way of a file and of a live stream where nobody's request went it lately. A model that is lost is
unloaded and loaded again, alone; those that are made of it come back with it.

python -m frontend.triton.watcher      the same as a process of its own, where clients speak gRPC only (watching.py)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from frontend.triton import probes
from frontend.triton.canaries import Canaries
from frontend.triton.client import ControlRefused, TritonClient, TritonRefused, TritonUnavailable
from frontend.triton.probes import Answer
from frontend.triton.profiles import SERVED
from frontend.triton.streaks import Streaks

logger = logging.getLogger(__name__)

READY = "READY"
DEAD = re.compile(r"Stub process '(\w+?)_\d+_\d+' is not healthy")
# Two that watch the same server see a model's end at the same moment: this apart, one of them finds it healed.
JITTER_S = 0.1
# Who unloads a model on purpose mostly loads another version of it: so long it may be away.
MISSING_S = 2.0
# Requests that stood in line before a dead process are told so one by one, some when the next one is there.
LATE_S = 3.0
# An older answer is asked for again before a model is unloaded, and how long that may take.
FRESH_S, AGAIN_S = 0.5, 0.3
ON_THEIR_WAY = ("LOADING", "UNLOADING")
# Where every model of the way answers by itself, the way's own failure may have been theirs a moment ago.
MOST_STRIKES = 3
# Far above what an idle thread of a busy machine waits for its turn.
STALL_S = 30.0
# Between two trials to load what does not load.
MOST_PAUSE_S = 30.0
# A model that fails again so soon after it was loaded again was not helped by that, nor will be by many more trials.
VAIN_S, MOST_VAIN = 60.0, 2
# What every profile has besides the ways of files and of live streams.
STEPS = ("vad", "features", "encoder", "decoder")
# What Triton says where models are somebody else's care.
CONTROL_REFUSED = "explicit model load / unload is not allowed"


@dataclass(frozen=True)
class Pace:
    """interval_s: between two rounds of small questions. canary_s: a way that nobody's request went for so long is
    gone by a canary. answer_s: a question's deadline. hang_s: a model that answered nothing for so long is lost.
    state_s, server_hang_s: the same of the server, which tells its models' state itself. load_s: how long a model may
    take to be there."""

    interval_s: float = 0.5
    canary_s: float = 5.0
    answer_s: float = 5.0
    # An encoder on a CPU may have a minute's work in line before a question, and is not lost.
    hang_s: float = 120.0
    state_s: float = 2.0
    server_hang_s: float = 8.0
    load_s: float = 120.0

    @property
    def stall_s(self) -> float:
        """The same as hang_s of those that compute nothing for a small question, and the least after which an engine
        that does not end its step stands still."""
        return min(STALL_S, self.hang_s)


class ServerLost(Exception):
    """Nothing is answered at all: the server is gone, or hangs; or a model of it fails, loaded again or not."""


class Watcher:
    """Watches what `models` are made of, and heals it. `unhealthy` says which models cannot answer now, and why."""

    def __init__(
        self, client: TritonClient, models: tuple[str, ...] = SERVED, pace: Pace | None = None, *, owned: bool = False
    ) -> None:
        """owned: whether the server is started again where that is lost."""
        self._owned = owned
        self._client = client
        self._models = models
        self._pace = pace or Pace()
        self._canaries = Canaries(client, self._pace.canary_s, self._pace.hang_s)
        self._answered: dict[str, float] = {}
        self._executions: dict[str, int | None] = {}
        self._missing: dict[str, float] = {}
        self._strikes: Counter[str] = Counter()
        # What could not be loaded, how often, and when it is tried again.
        self._failures: Counter[str] = Counter()
        self._not_before: dict[str, float] = {}
        self._streaks = Streaks()
        self._vain: Counter[str] = Counter()
        self._suspected = asyncio.Event()
        # Whose process is dead by what Triton told somebody's request.
        self._told_dead: set[str] = set()
        self._back: dict[str, float] = {}
        self._was_gone: set[str] = set()
        # Why models cannot be loaded again by us, where that is so.
        self.forbidden = ""
        # As Triton told them last: of all models, or of those that were asked for one by one.
        self.states: dict[str, str] = {}
        self.unhealthy: dict[str, str] = {}
        self.healed: Counter[str] = Counter()

    def suspect(self, message: str = "") -> None:
        """Somebody's request failed, with Triton's message: look now."""
        dead = DEAD.search(message)
        if dead is not None and time.monotonic() - self._back.get(dead[1], 0.0) > LATE_S:
            # A question of our own would stand in line behind all that fail, a second each.
            self._told_dead.add(dead[1])
        self._suspected.set()

    async def run(self, looked: Callable[[], None] = lambda: None) -> None:
        """Until cancelled; `looked` is called after each round. Raises ServerLost where the server itself answers
        nothing for `server_hang_s`."""
        seen = time.monotonic()
        try:
            while True:
                try:
                    await self.look()
                    seen = time.monotonic()
                except TritonUnavailable as error:
                    self.unhealthy = dict.fromkeys(self._models, f"Triton does not answer: {error}")
                    if time.monotonic() - seen > self._pace.server_hang_s:
                        raise ServerLost(str(error)) from error
                except ServerLost:
                    raise
                except Exception:
                    # Our own mistake is no reason to give a server up.
                    logger.exception("the models could not be looked at")
                looked()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._suspected.wait(), self._pace.interval_s)
                self._suspected.clear()
        finally:
            self._canaries.recall()

    async def look(self) -> None:
        """One round: ask, and heal what is lost. Raises TritonUnavailable where the server does not answer."""
        suspicious = bool(self.unhealthy) or self._suspected.is_set()
        self.states = states = await self._states()
        watched = [*self._models, *(name for name in states if name not in self._models and states[name] == READY)]
        asked = [name for name in watched if states.get(name) == READY]
        answers, doubtful = await self._answers(asked)
        answers |= self._canaries.turn(asked, suspicious=suspicious)
        answers |= self._silent(answers) or self._failing(answers)
        await self._note_progress(answers)
        away = {name: "it is not loaded" for name in self._models if states.get(name) != READY}
        lost = {name: reason for name in answers if (reason := self._reason(name, answers[name]))}
        gone = {*lost, *away, *(name for name in states if states[name] != READY)}
        for name in self._was_gone.intersection(asked) - gone:
            # Whoever healed it.
            self._is_back(name)
        self._was_gone = gone
        self.unhealthy = away | lost
        if self.unhealthy:
            # Files and live streams go through every model.
            unhealthy = ", ".join(self.unhealthy)
            self.unhealthy |= {name: f"a model is lost: {unhealthy}" for name in self._models if name not in away}
        now = time.monotonic()
        self._missing = {name: self._missing.get(name, now) for name in away}
        long_away = {name: away[name] for name, since in self._missing.items() if now - since >= MISSING_S}
        for name, reason in (lost | long_away).items():
            if self._is_to_heal(name, lost):
                failed = answers.get(name) is Answer.FAILED
                await self._heal(name, reason, doubtful=name in doubtful, failed=failed)

    async def _states(self) -> dict[str, str]:
        """Of the models. Without the secret of the list of them, those that every profile has are asked for."""
        try:
            states = await self._client.repository(self._pace.state_s)
        except ControlRefused as error:
            self._is_forbidden(str(error))
            names = [*self._models, *STEPS]
            ready = await asyncio.gather(*(self._client.is_ready(name, self._pace.state_s) for name in names))
            return {name: READY for name, is_ready in zip(names, ready, strict=True) if is_ready}
        if CONTROL_REFUSED not in self.forbidden:
            # The file has the right secret by now.
            self.forbidden = ""
        return states

    def _is_forbidden(self, why: str) -> None:
        if not self.forbidden:
            logger.error("models cannot be loaded again by us: %s", why)
        self.forbidden = why

    async def _answers(self, asked: list[str]) -> tuple[dict[str, Answer], set[str]]:
        """What each says to a small question, and whose answer is old: who stood in line before a dead process may be
        told so when another watcher has replaced it."""
        began = time.monotonic()
        asking = asyncio.ensure_future(asyncio.gather(*(self._ask(name) for name in asked)))
        if not self._told_dead:
            told = asyncio.ensure_future(self._suspected.wait())
            waits: set[asyncio.Future[Any]] = {asking, told}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
        dead, self._told_dead = self._told_dead & set(asked), set()
        if dead:
            asking.cancel()
            return dict.fromkeys(dead, Answer.LOST), set()
        answers = {name: self._streaks.judged(name, told) for name, told in zip(asked, await asking, strict=True)}
        old = time.monotonic() - began > FRESH_S
        return answers, {name for name in asked if old and answers[name] is Answer.LOST}

    async def _note_progress(self, answers: dict[str, Answer]) -> None:
        """A request that was in a process as that died may block its model, and nothing then says why questions get no
        answer; in a long line they get none either, but it moves."""
        for name, answer in answers.items():
            if answer is Answer.SILENT and probes.kind_of(name) in probes.SOON:
                executions = await self._client.executions(name, self._pace.state_s)
                if executions != self._executions.get(name):
                    self._executions[name], self._answered[name] = executions, time.monotonic()

    def _reason(self, name: str, answer: Answer) -> str:
        """Why a model is lost, or nothing where it is not."""
        now = time.monotonic()
        last = self._answered.setdefault(name, now)
        is_told = probes.kind_of(name) in probes.AT_ONCE or self._executions.get(name) is not None
        patience_s = self._pace.stall_s if is_told else self._pace.hang_s
        if answer in probes.WELL:
            self._answered[name] = now
        elif answer is Answer.LOST:
            return "its process does not answer"
        elif answer is Answer.STALLED:
            return "it has work and does not go on with it"
        elif answer is Answer.FAILED:
            return "it answers with nothing but errors"
        elif now - last > patience_s:
            return f"it has not answered for {now - last:.0f} s"
        return ""

    def _is_to_heal(self, name: str, lost: dict[str, str]) -> bool:
        """An ensemble comes back with the model that is lost of it; it is loaded again itself where there is none."""
        if probes.kind_of(name) != "asr" or name not in lost:
            return True
        self._strikes[name] = 0 if len(lost) > 1 else self._strikes[name] + 1
        return self._strikes[name] >= MOST_STRIKES

    async def _ask(self, name: str, timeout_s: float | None = None) -> Answer:
        return await probes.probe(self._client.stub, name, timeout_s or self._pace.answer_s, self._pace.stall_s)

    def _silent(self, answers: dict[str, Answer]) -> dict[str, Answer]:
        """Whoever stands still although it answers small questions: the decoder where files get no answer for
        `hang_s` and it does not compute, `asr_stream` where only live streams get none. What else is on the way
        computes for its question."""
        silent = self._canaries.silent(answers)
        if "asr" in silent:
            blamed = silent["asr"].replace("asr", "decoder", 1)
        elif "asr_stream" in silent:
            blamed = silent["asr_stream"]
        else:
            return {}
        others = {name: answer for name, answer in answers.items() if probes.kind_of(name) not in SERVED}
        # Whoever computes is slow, and says by itself when it stands still.
        if blamed not in answers or set(others.values()) != {Answer.ALIVE}:
            return {}
        self._canaries.recall()
        return {blamed: Answer.LOST}

    def _failing(self, answers: dict[str, Answer]) -> dict[str, Answer]:
        """The decoder, where files fail and every other one computes for its question without an error."""
        failing = [name for name in answers if probes.kind_of(name) == "asr" and answers[name] is Answer.FAILED]
        others = {answer for name, answer in answers.items() if probes.kind_of(name) not in SERVED}
        if not failing or not others <= {*probes.WELL}:
            return {}
        blamed = {name.replace("asr", "decoder", 1) for name in failing}
        return dict.fromkeys(blamed & set(answers), Answer.FAILED)

    def _is_back(self, name: str) -> None:
        for known in (self._answered, self._executions, self._strikes, self._failures):
            known.pop(name, None)
        self._canaries.recall()
        self._streaks.forget(name)
        self._told_dead.discard(name)
        self._was_gone.discard(name)
        self._back[name] = time.monotonic()
        self._client.renewals.note(name)
        self._suspected.set()

    async def _heal(self, name: str, reason: str, *, doubtful: bool, failed: bool) -> None:
        """Unload and load a model, unless somebody else did so meanwhile, or may not. failed: it answers, with errors:
        what is loaded may fail like what was unloaded, and then waits longer and longer. Raises ServerLost where that
        did not help and the server is ours."""
        if self.forbidden or time.monotonic() < self._not_before.get(name, 0.0):
            return
        if doubtful and await self._ask(name, AGAIN_S) in probes.WELL:
            return
        if failed and time.monotonic() - self._back.get(name, 0.0) > VAIN_S:
            self._vain.pop(name, None)
        if failed and self._owned and self._vain[name] >= MOST_VAIN:
            raise ServerLost(f"{name} was loaded again {self._vain[name]} times, and still fails")
        await asyncio.sleep(random.uniform(0, JITTER_S))
        # Last of all: what is on its way now is another watcher's care.
        state = (await self._client.repository(self._pace.state_s)).get(name)
        if state in ON_THEIR_WAY:
            return
        logger.error("%s is lost: %s; it is loaded again", name, reason)
        started = time.monotonic()
        try:
            if state == READY:
                await self._client.unload(name, alone=True)
            await self._client.load(name, self._pace.load_s)
        except (TritonRefused, TritonUnavailable) as error:
            if CONTROL_REFUSED in str(error) or isinstance(error, ControlRefused):
                self._is_forbidden(str(error))
                return
            self._failures[name] += 1
            pause_s = min(MOST_PAUSE_S, 2.0 ** self._failures[name])
            self._not_before[name] = time.monotonic() + pause_s
            logger.error("%s cannot be loaded again, which is tried once more in %.0f s: %s", name, pause_s, error)
            return
        self.healed[name] += 1
        self._is_back(name)
        if failed:
            self._vain[name] += 1
            self._not_before[name] = time.monotonic() + min(MOST_PAUSE_S, 2.0 ** self._vain[name])
        logger.warning("%s is back after %.1f s", name, time.monotonic() - started)


if __name__ == "__main__":
    from frontend.triton.watching import main

    sys.exit(main(sys.argv[1:]))
