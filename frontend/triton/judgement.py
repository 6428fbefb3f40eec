"""What the answers of models say: who of them is lost, and why."""

from __future__ import annotations

import asyncio
import time

from frontend.triton import probes
from frontend.triton.canaries import Canaries
from frontend.triton.client import TritonClient
from frontend.triton.instances import Instances
from frontend.triton.pace import Pace
from frontend.triton.probes import Answer
from frontend.triton.profiles import SERVED

# In a row. One silence may be our own: somebody stopped us, and the question's deadline went by. One stall may be the
# machine's: it was frozen in the middle of a step, which is late when it goes on.
LEAST_TIMES = 2


class Judgement:
    """When each model answered last, and what it did since."""

    def __init__(self, client: TritonClient, canaries: Canaries, pace: Pace, instances: Instances | None) -> None:
        self._client = client
        self._canaries = canaries
        self._pace = pace
        self._instances = instances
        self._answered: dict[str, float] = {}
        self._executions: dict[str, int] = {}
        # What each answered last, and how often in a row.
        self._in_a_row: dict[str, tuple[Answer, int]] = {}

    def forget(self, name: str) -> None:
        """It was loaded again."""
        self._answered.pop(name, None)
        self._executions.pop(name, None)
        self._in_a_row.pop(name, None)

    async def note_progress(self, answers: dict[str, Answer]) -> None:
        """A request that was in a process as that died may block its model, and nothing then says why questions get no
        answer; in a long line they get none either, but it moves."""
        silent = [name for name in answers if answers[name] is Answer.SILENT and probes.kind_of(name) in probes.SOON]
        told = await asyncio.gather(*(self._client.counts(name, self._pace.state_s) for name in silent))
        for name, counts in zip(silent, told, strict=True):
            # A count that was not told says nothing of progress.
            if counts is not None and counts[0] != self._executions.get(name):
                self._executions[name], self._answered[name] = counts[0], time.monotonic()

    def reason(self, name: str, answer: Answer) -> str:
        """Why a model is lost, or nothing where it is not."""
        now = time.monotonic()
        last = self._answered.setdefault(name, now)
        before, times = self._in_a_row.get(name, (answer, 0))
        times = times + 1 if before is answer else 1
        self._in_a_row[name] = answer, times
        if answer in probes.WELL:
            self._answered[name] = now
        elif answer is Answer.LOST:
            return "its process does not answer"
        elif answer is Answer.STALLED and times >= LEAST_TIMES:
            return "it has work and does not go on with it"
        elif answer is Answer.FAILED:
            return "it answers with nothing but errors"
        elif answer is Answer.SILENT and times >= LEAST_TIMES and now - last > self._patience_s(name):
            return f"it has not answered for {now - last:.0f} s"
        return ""

    def silent(self, answers: dict[str, Answer]) -> dict[str, Answer]:
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

    def failing(self, answers: dict[str, Answer]) -> dict[str, Answer]:
        """The decoder, where files fail and every other one computes for its question without an error."""
        failing = [name for name in answers if probes.kind_of(name) == "asr" and answers[name] is Answer.FAILED]
        others = {answer for name, answer in answers.items() if probes.kind_of(name) not in SERVED}
        if not failing or not others <= {*probes.WELL}:
            return {}
        blamed = {name.replace("asr", "decoder", 1) for name in failing}
        return dict.fromkeys(blamed & set(answers), Answer.FAILED)

    def _patience_s(self, name: str) -> float:
        """How long it may be silent. Who is busy, or waits for a processor, is never cut short: it is seen to be."""
        if self._instances is not None and self._instances.still_s(name) > self._pace.still_s:
            return self._pace.still_s
        is_told = probes.kind_of(name) in probes.AT_ONCE or self._executions.get(name) is not None
        return self._pace.stall_s if is_told else self._pace.hang_s
