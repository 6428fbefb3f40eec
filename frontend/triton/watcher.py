"""Health as what was really answered, and models that are lost loaded again.

Triton calls a model ready although its process is dead, so the processes are looked at where they can be seen, every
model is asked something small once or twice a second, and a canary goes the whole way of a file and of a live stream
where nobody's request went it lately. A model that is lost is unloaded and loaded again, alone; those that are made of
it come back with it.

python -m frontend.triton.watcher      the same as a process of its own, where clients speak gRPC only (watching.py)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from frontend.triton import lines, probes
from frontend.triton.canaries import Canaries
from frontend.triton.client import TritonClient, TritonRefused, TritonUnavailable
from frontend.triton.errors import ControlRefused
from frontend.triton.healing import READY, Healer, ServerLost
from frontend.triton.instances import Instances, processes_wanted
from frontend.triton.judgement import Judgement
from frontend.triton.pace import Pace
from frontend.triton.probes import Answer
from frontend.triton.profiles import LOADED
from frontend.triton.streaks import Streaks

logger = logging.getLogger(__name__)

DEAD = re.compile(r"Stub process '(\w+?)_\d+_\d+' is not healthy")
# Who unloads a model on purpose mostly loads another version of it: so long it may be away.
MISSING_S = 2.0
# Requests that stood in line before a dead process are told so one by one, some when the next one is there.
LATE_S = 3.0
# An older answer is asked for again before a model is unloaded, and how long that may take.
FRESH_S, AGAIN_S = 0.5, 0.3
# Where every model of the way answers by itself, the way's own failure may have been theirs a moment ago.
MOST_STRIKES = 3
# Who asks others of its own accord is loaded again after them: what a live session asks of one that is dead is lost.
ASKING = "asr_stream"
# What every profile has besides the ways of files and of live streams.
STEPS = ("vad", "features", "encoder", "decoder")


class Watcher:
    """Watches what `models` are made of, and heals it. `unhealthy` says which models cannot answer now, and why."""

    def __init__(
        self,
        client: TritonClient,
        models: tuple[str, ...] = LOADED,
        pace: Pace | None = None,
        *,
        owned: bool = False,
        server: Callable[[], int | None] | None = None,
        healed: Counter[str] | None = None,
    ) -> None:
        """owned: whether the server is started again where that is lost. server: its process id, where the processes
        of its models can be seen from here. healed: how often each model was loaded again before, which goes on."""
        self._client = client
        self._models = models
        self._pace = pace or Pace()
        self._instances = Instances(server, self._processes_wanted) if server is not None else None
        self._canaries = Canaries(client, self._pace.canary_s, self._pace.hang_s)
        self._judgement = Judgement(client, self._canaries, self._pace, self._instances)
        self._healer = Healer(client, self._pace, self._instances, self._is_back, owned=owned, healed=healed)
        self._missing: dict[str, float] = {}
        self._strikes: Counter[str] = Counter()
        self._streaks = Streaks()
        self._suspected = asyncio.Event()
        self._death = asyncio.Event()
        # Whose process is dead by what Triton told somebody's request, and by what the kernel says.
        self._told_dead: set[str] = set()
        self._seen_dead: dict[str, str] = {}
        self._loaded: tuple[str, ...] = ()
        self._was_gone: set[str] = set()
        self._looked: Callable[[], None] = lambda: None
        # As Triton told them last: of all models, or of those that were asked for one by one.
        self.states: dict[str, str] = {}
        self.unhealthy: dict[str, str] = {}
        # What models say of themselves beside their answers.
        self.told: dict[str, dict[str, Any]] = {}
        # And how often they have.
        self.reports: Counter[str] = Counter()
        # Between two rounds.
        self.interval_s = self._pace.interval_s

    @property
    def forbidden(self) -> str:
        """Why models cannot be loaded again by us, where that is so."""
        return self._healer.forbidden

    @property
    def healed(self) -> Counter[str]:
        """How often each model was loaded again."""
        return self._healer.healed

    def stretch(self, least_s: float) -> None:
        """One of many servers is looked at less often."""
        self.interval_s = max(self._pace.interval_s, least_s)

    def suspect(self, message: str = "") -> None:
        """Somebody's request failed, with Triton's message: look now."""
        # Where processes are seen, the kernel says who is dead, and not a message that may have waited.
        dead = DEAD.search(message) if self._instances is None else None
        if dead is not None and time.monotonic() - self._healer.back.get(dead[1], 0.0) > LATE_S:
            # A question of our own would stand in line behind all that fail, a second each.
            self._told_dead.add(dead[1])
            self._death.set()
        self._suspected.set()

    async def run(self, looked: Callable[[], None] = lambda: None) -> None:
        """Until cancelled; `looked` is called after each round, and before something is healed, which takes its time.
        Raises ServerLost where the server itself answers nothing for `server_hang_s`."""
        seen, self._looked = time.monotonic(), looked
        processes = asyncio.create_task(self._watch_processes())
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
                    await asyncio.wait_for(self._suspected.wait(), self.interval_s)
                self._suspected.clear()
        finally:
            processes.cancel()
            self._canaries.recall()

    async def look(self) -> None:
        """One round: ask, and heal what is lost. Raises TritonUnavailable where the server does not answer."""
        suspicious = bool(self.unhealthy) or self._suspected.is_set()
        self.states = states = await self._states()
        watched = [*self._models, *(name for name in states if name not in self._models and states[name] == READY)]
        asked = [name for name in watched if states.get(name) == READY]
        self._loaded = tuple(asked)
        answers, doubtful = await self._answers(asked)
        answers |= self._canaries.turn(asked, suspicious=suspicious)
        answers |= self._judgement.silent(answers) or self._judgement.failing(answers)
        await self._judgement.note_progress(answers)
        away = {name: "it is not loaded" for name in self._models if states.get(name) != READY}
        lost = {name: reason for name in answers if (reason := self._judgement.reason(name, answers[name]))}
        dead, self._seen_dead = self._seen_dead, {}
        lost |= {name: f"the kernel says that {lack} cannot answer" for name, lack in dead.items() if name in lost}
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
        to_heal = lost | long_away
        for name in sorted(to_heal, key=lambda name: probes.kind_of(name) == ASKING):
            reason = to_heal[name]
            if not self._is_to_heal(name, lost) or not self._healer.may(name):
                continue
            if name in doubtful and name not in dead and await self._answers_after_all(name):
                continue
            self._looked()
            # It has fewer processes than it should, until it is back.
            self._loaded = tuple(other for other in self._loaded if other != name)
            answer = answers.get(name)
            lasting, stands = answer in probes.LASTING, answer in probes.STANDING
            await self._healer.heal(name, reason, dead=name in dead, lasting=lasting, stands=stands)
            # What the others said is old by now.
            break

    async def _states(self) -> dict[str, str]:
        """Of the models. Without the secret of the list of them, those that every profile has are asked for."""
        try:
            states = await self._client.repository(self._pace.state_s)
        except ControlRefused as error:
            self._healer.forbid(str(error))
            names = [*self._models, *STEPS]
            ready = await asyncio.gather(*(self._client.is_ready(name, self._pace.state_s) for name in names))
            return {name: READY for name, is_ready in zip(names, ready, strict=True) if is_ready}
        self._healer.allow()
        return states

    async def _answers(self, asked: list[str]) -> tuple[dict[str, Answer], set[str]]:
        """What each says to a small question, and whose answer is old: who stood in line before a dead process may be
        told so when another watcher has replaced it."""
        began = time.monotonic()
        asking = asyncio.ensure_future(asyncio.gather(*(self._ask(name) for name in asked)))
        told = asyncio.ensure_future(self._death.wait())
        waits: set[asyncio.Future[Any]] = {asking, told}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        self._death.clear()
        dead, self._told_dead = (self._told_dead | set(self._seen_dead)) & set(asked), set()
        if dead:
            asking.cancel()
            # The others are not waited for, and what they would have said is nobody's.
            asking.add_done_callback(lambda done: done.cancelled() or done.exception())
            return dict.fromkeys((name for name in asked if name in dead), Answer.LOST), set()
        answers = {name: self._streaks.judged(name, told) for name, told in zip(asked, await asking, strict=True)}
        old = time.monotonic() - began > FRESH_S
        return answers, {name for name in asked if old and answers[name] is Answer.LOST}

    async def _answers_after_all(self, name: str) -> bool:
        """Whether it was only told so late. Of one whose processes are seen to live, no answer says nothing: the server
        itself knows within a second that there is nobody, and who is busy answers later."""
        if self._instances is None:
            return await self._ask(name, AGAIN_S) in probes.WELL
        return await self._ask(name) in (*probes.WELL, Answer.SILENT)

    def _is_to_heal(self, name: str, lost: dict[str, str]) -> bool:
        """An ensemble comes back with the model that is lost of it; it is loaded again itself where there is none."""
        if probes.kind_of(name) not in probes.ENSEMBLES or name not in lost:
            return True
        self._strikes[name] = 0 if len(lost) > 1 else self._strikes[name] + 1
        return self._strikes[name] >= MOST_STRIKES

    async def _ask(self, name: str, timeout_s: float | None = None) -> Answer:
        within_s = timeout_s or self._pace.answer_s
        return await lines.ask(self._client, name, within_s, self._pace.stall_s, self._pace.state_s, self._tell)

    def _tell(self, name: str, told: dict[str, Any]) -> None:
        self.told[name] = told
        self.reports[name] += 1

    def _is_back(self, name: str) -> None:
        self._strikes.pop(name, None)
        self._judgement.forget(name)
        self._healer.note_back(name)
        self._canaries.recall()
        self._streaks.forget(name)
        self._told_dead.discard(name)
        self._seen_dead.pop(name, None)
        self._was_gone.discard(name)
        self._client.renewals.note(name)
        self._suspected.set()

    async def _watch_processes(self) -> None:
        """Look at them beside all that is waited for."""
        while self._instances is not None:
            try:
                lacking = await self._instances.lacking(self._loaded)
                # Those that have been loaded again meanwhile had to lack them.
                self._seen_dead |= {name: lack for name, lack in lacking.items() if name in self._loaded}
                self._instances.end_retired()
            except (TritonUnavailable, TritonRefused):
                # A server that does not answer is not looked at closer.
                pass
            except Exception:
                logger.exception("the models' processes could not be looked at")
            if self._seen_dead:
                self._death.set()
                self._suspected.set()
            await asyncio.sleep(self._pace.processes_s)

    async def _processes_wanted(self, name: str) -> int:
        config = await self._client.config(name, self._pace.state_s)
        return processes_wanted(config.backend, [(group.count, len(group.gpus)) for group in config.instance_group])


if __name__ == "__main__":
    from frontend.triton.watching import main

    sys.exit(main(sys.argv[1:]))
