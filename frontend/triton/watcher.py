"""Health as what was really answered, and models that are lost loaded again.

Triton calls a model ready although its process is dead, so every model is asked something small twice a second, and a
canary goes the whole way of a file and of a live stream where nobody's request went it lately. A model that is lost is
unloaded and loaded again, alone; those that are made of it come back with it.

python -m frontend.triton.watcher      the same as a process of its own, where clients speak gRPC only (ASR_TRITON_URL)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import grpc

from frontend.guard import tls
from frontend.observe import logs
from frontend.settings import Settings
from frontend.triton import control, probes
from frontend.triton.client import TritonClient, TritonRefused, TritonUnavailable
from frontend.triton.probes import Answer
from frontend.triton.profiles import SERVED

logger = logging.getLogger(__name__)

READY = "READY"
DEAD = re.compile(r"Stub process '(\w+?)_\d+_\d+' is not healthy")
# Two that watch the same server see a model's end at the same moment: this apart, one of them finds it healed.
JITTER_S = 0.1
# Who unloads a model on purpose mostly loads another version of it: so long it may be away.
MISSING_S = 2.0
# Requests that stood in line before a dead process are told so one by one, some when the next one is there.
LATE_S = 3.0
ON_THEIR_WAY = ("LOADING", "UNLOADING")
# Where every model of the way answers by itself, the way's own failure may have been theirs a moment ago.
MOST_STRIKES = 3
# Between two trials to load what does not load.
MOST_PAUSE_S = 30.0
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


class ServerLost(Exception):
    """Nothing is answered at all: the server is gone, or hangs."""


class Watcher:
    """Watches what `models` are made of, and heals it. `unhealthy` says which models cannot answer now, and why."""

    def __init__(self, client: TritonClient, models: tuple[str, ...] = SERVED, pace: Pace | None = None) -> None:
        self._client = client
        self._models = models
        self._pace = pace or Pace()
        self._answered: dict[str, float] = {}
        self._gone_by: dict[str, float] = {}
        # When a request or a canary last came out at the end of its way.
        self._went: dict[str, float] = {}
        self._missing: dict[str, float] = {}
        self._strikes: Counter[str] = Counter()
        # What could not be loaded, how often, and when it is tried again.
        self._failures: Counter[str] = Counter()
        self._not_before: dict[str, float] = {}
        self._suspected = asyncio.Event()
        # Whose process is dead by what Triton told somebody's request.
        self._told_dead: set[str] = set()
        self._back: dict[str, float] = {}
        self._canaries: dict[str, asyncio.Task[Answer]] = {}
        self._may_ask = self._may_control = True
        self._was_unhealthy = False
        self.unhealthy: dict[str, str] = {}
        self.healed: Counter[str] = Counter()

    def suspect(self, message: str = "") -> None:
        """Somebody's request failed, with Triton's message: look now."""
        dead = DEAD.search(message)
        if dead is not None and time.monotonic() - self._back.get(dead[1], 0.0) > LATE_S:
            # A question of our own would stand in line behind all that fail, a second each.
            self._told_dead.add(dead[1])
        self._suspected.set()

    async def run(self) -> None:
        """Until cancelled. Raises ServerLost where the server itself answers nothing for `server_hang_s`."""
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
                except Exception:
                    # Our own mistake is no reason to give a server up.
                    logger.exception("the models could not be looked at")
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._suspected.wait(), self._pace.interval_s)
                self._suspected.clear()
        finally:
            self._recall()

    async def look(self) -> None:
        """One round: ask, and heal what is lost. Raises TritonUnavailable where the server does not answer."""
        states = await self._states()
        watched = [*self._models, *(name for name in states if name not in self._models and states[name] == READY)]
        asked = [name for name in watched if states.get(name) == READY]
        asking = asyncio.ensure_future(asyncio.gather(*(self._ask(name) for name in asked)))
        told = asyncio.ensure_future(self._suspected.wait())
        waits: set[asyncio.Future[Any]] = {asking, told}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        dead = self._told_dead & set(asked)
        if dead:
            asking.cancel()
        answers = dict.fromkeys(dead, Answer.LOST) or dict(zip(asked, await asking, strict=True))
        answers |= self._returned(asked)
        answers |= self._silent(answers)
        away = {name: "it is not loaded" for name in self._models if states.get(name) != READY}
        lost = {name: reason for name in answers if (reason := self._reason(name, answers[name]))}
        self.unhealthy = away | lost
        if self._was_unhealthy and not self.unhealthy:
            # Whoever healed it.
            self._client.renewals.note()
        self._was_unhealthy = bool(self.unhealthy)
        if self.unhealthy:
            # Files and live streams go through every model.
            unhealthy = ", ".join(self.unhealthy)
            self.unhealthy |= {name: f"a model is lost: {unhealthy}" for name in self._models if name not in away}
        now = time.monotonic()
        self._missing = {name: self._missing.get(name, now) for name in away}
        long_away = {name: away[name] for name, since in self._missing.items() if now - since >= MISSING_S}
        for name, reason in (lost | long_away).items():
            if self._is_to_heal(name, lost):
                await self._heal(name, reason)

    async def _states(self) -> dict[str, str]:
        """Of each model. Where a server does not let us ask for all of them, those that files and live streams need are
        asked for one by one, and none is loaded by us. Raises TritonUnavailable where the server does not answer."""
        if self._may_ask:
            try:
                return await self._client.repository(self._pace.state_s)
            except TritonRefused as error:
                self._may_ask = self._may_control = False
                logger.warning("models cannot be loaded again by us: %s", error)
        await self._client.server_metadata(self._pace.state_s)
        names = [*self._models, *(room for room in probes.ROOMS if room not in self._models)]
        ready = await asyncio.gather(*(self._client.is_ready(name, self._pace.state_s) for name in names))
        return {name: READY for name, is_ready in zip(names, ready, strict=True) if is_ready}

    def _reason(self, name: str, answer: Answer) -> str:
        """Why a model is lost, or nothing where it is not."""
        now = time.monotonic()
        last = self._answered.setdefault(name, now)
        if answer is Answer.ALIVE:
            self._answered[name] = now
        elif answer is Answer.LOST:
            return "its process does not answer"
        elif now - last > self._pace.hang_s:
            return f"it has not answered for {now - last:.0f} s"
        return ""

    def _is_to_heal(self, name: str, lost: dict[str, str]) -> bool:
        """An ensemble comes back with the model that is lost of it; it is loaded again itself where there is none."""
        if probes.kind_of(name) != "asr" or name not in lost:
            return True
        self._strikes[name] = 0 if len(lost) > 1 else self._strikes[name] + 1
        return self._strikes[name] >= MOST_STRIKES

    def _is_due(self, name: str) -> bool:
        """Whether the whole way is to be gone: nobody's request went it lately, or something has failed."""
        now = time.monotonic()
        went = max(self._client.answered.get(name, 0.0), self._gone_by.get(name, 0.0))
        if now - went < self._pace.canary_s and not self.unhealthy and not self._suspected.is_set():
            return False
        self._gone_by[name] = now
        return True

    async def _ask(self, name: str) -> Answer:
        return await probes.probe(self._client.stub, name, self._pace.answer_s)

    def _returned(self, asked: list[str]) -> dict[str, Answer]:
        """Send the canaries that are due; what those have brought that are back, where it is not good."""
        answers = {}
        for name in asked:
            canary = self._canaries.get(name)
            if canary is not None and canary.done():
                del self._canaries[name]
                if canary.result() is not Answer.ALIVE:
                    answers[name] = canary.result()
                else:
                    self._went[name] = time.monotonic()
            elif canary is None and probes.kind_of(name) in SERVED and self._is_due(name):
                sent = probes.canary(self._client.stub, name, self._pace.answer_s)
                self._canaries[name] = asyncio.create_task(sent)
        return answers

    def _silent(self, answers: dict[str, Answer]) -> dict[str, Answer]:
        """Whoever stands still although it answers small questions: the decoder where files get no answer for
        `hang_s`, `asr_stream` where only live streams get none. What else is on the way computes for its question."""
        now = time.monotonic()
        silent = {}
        for name in answers:
            if probes.kind_of(name) not in SERVED:
                continue
            self._went[name] = max(self._went.get(name, now), self._client.answered.get(name, 0.0))
            if now - self._went[name] > self._pace.hang_s:
                silent[probes.kind_of(name)] = name
        if "asr" in silent:
            blamed = silent["asr"].replace("asr", "decoder", 1)
        elif "asr_stream" in silent:
            blamed = silent["asr_stream"]
        else:
            return {}
        others = [answer for name, answer in answers.items() if probes.kind_of(name) not in SERVED]
        if blamed not in answers or any(answer is not Answer.ALIVE for answer in others):
            return {}
        self._went.clear()
        return {blamed: Answer.LOST}

    def _recall(self) -> None:
        for canary in self._canaries.values():
            canary.cancel()
        self._canaries.clear()

    async def _heal(self, name: str, reason: str) -> None:
        """Unload and load a model, unless somebody else did so meanwhile, or may not."""
        if not self._may_control or time.monotonic() < self._not_before.get(name, 0.0):
            return
        await asyncio.sleep(random.uniform(0, JITTER_S))
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
            if CONTROL_REFUSED in str(error):
                self._may_control = False
                logger.error("models cannot be loaded again by us: %s", error)
                return
            self._failures[name] += 1
            pause_s = min(MOST_PAUSE_S, 2.0 ** self._failures[name])
            self._not_before[name] = time.monotonic() + pause_s
            logger.error("%s cannot be loaded again, which is tried once more in %.0f s: %s", name, pause_s, error)
            return
        self.healed[name] += 1
        self._answered.pop(name, None)
        self._strikes.pop(name, None)
        self._failures.pop(name, None)
        self._went.clear()
        # What was sent before it was lost says nothing of the new one.
        self._recall()
        self._told_dead.discard(name)
        self._back[name] = time.monotonic()
        self._suspected.set()
        logger.warning("%s is back after %.1f s", name, time.monotonic() - started)


async def watch(settings: Settings) -> int:
    """A process of its own, until SIGTERM; a server that comes and goes is waited for."""
    assert settings.triton_url is not None
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    key_file = settings.triton_control_key_file
    client = TritonClient(settings.triton_url, lambda: control.read_key(key_file), tls.triton_credentials(settings))
    watcher = Watcher(client, pace=Pace(load_s=settings.triton_start_timeout_s, hang_s=settings.hang_s))

    async def forever() -> None:
        while True:
            with contextlib.suppress(ServerLost, grpc.aio.AioRpcError):
                await watcher.run()

    logger.info("watching the models of %s", settings.triton_url)
    running = asyncio.create_task(forever())
    await asyncio.wait([running, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await client.close()
    return 0


def main() -> int:
    settings = Settings()
    logs.install(settings.log_level, as_json=settings.log_json)
    if settings.triton_url is None:
        print("error: ASR_TRITON_URL names no Triton; the embedded one is watched by its frontend", file=sys.stderr)
        return 2
    try:
        control.read_key(settings.triton_control_key_file)
        tls.triton_credentials(settings)
    except (control.NoControlKey, tls.TlsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return asyncio.run(watch(settings))


if __name__ == "__main__":
    sys.exit(main())
