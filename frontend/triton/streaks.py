"""Errors in a row: one says nothing of the model that it came from, several say that it answers nothing else."""

from __future__ import annotations

from collections import Counter

from frontend.triton.probes import WELL, Answer

# A round apart at least: a second and more.
MOST_ERRORS = 3


class Streaks:
    """How many errors each has given since it last answered well."""

    def __init__(self) -> None:
        self._errors: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Whether any has begun."""
        return bool(self._errors)

    def judged(self, name: str, answer: Answer) -> Answer:
        """The answer; an error that is not the last of enough is taken as well."""
        if answer in WELL:
            self._errors.pop(name, None)
        if answer is not Answer.FAILED:
            return answer
        self._errors[name] += 1
        return Answer.FAILED if self.is_long(name) else Answer.ALIVE

    def is_long(self, name: str) -> bool:
        """Whether it answers with nothing but errors."""
        return self._errors[name] >= MOST_ERRORS

    def forget(self, name: str) -> None:
        """It was loaded again."""
        self._errors.pop(name, None)

    def clear(self) -> None:
        self._errors.clear()
