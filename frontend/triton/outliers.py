"""Servers that are set aside for a while because their answers fail, or come far later, where the others' do not."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping, Sequence

WINDOW_S = 30.0
MOST_OUTCOMES = 50
# So many failures within the window, and at least this share of all answers, where the others fail less than that: what
# fails everywhere is the requests' own fault, or everybody's.
LEAST_FAILURES, FAILING_SHARE, OTHERS_SHARE = 5, 0.5, 0.25
# Of so many answers, how much later than the median of the others is far later, and by how much at least.
LEAST_ANSWERS, LATER_TIMES, LATER_S = 20, 4.0, 0.25
# How much the newest answer counts in the mean.
NEWEST = 0.1
# Set aside for so long, twice as long each time that it is again soon after.
FIRST_S, MOST_S, FORGIVEN_S = 15.0, 240.0, 300.0
# A share of all may be set aside at a time, one of two, and never the last.
MOST_SHARE = 1 / 3
# A look at the others costs; at each answer it would be too much.
JUDGE_S = 0.5


class Record:
    """How one server has answered lately. Times are those of one clock, in seconds."""

    def __init__(self) -> None:
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=MOST_OUTCOMES)
        # By kind of work: answers since it was set aside last, and the mean of how late they were.
        self._late: dict[str, tuple[int, float]] = {}
        self._judged_at = 0.0
        self._times = 0
        self.aside_until = 0.0
        self.reason = ""

    def answered(self, kind: str, late_s: float | None, now: float) -> None:
        """late_s: a time that is the same for the same work, wherever it is done."""
        self._outcomes.append((now, False))
        if late_s is None:
            return
        count, mean = self._late.get(kind, (0, late_s))
        self._late[kind] = count + 1, mean + NEWEST * (late_s - mean)

    def failed(self, now: float) -> None:
        self._outcomes.append((now, True))

    def counts(self, now: float) -> tuple[int, int]:
        """Failures and answers within the window."""
        recent = [failed for at, failed in self._outcomes if now - at <= WINDOW_S]
        return sum(recent), len(recent)

    def mean_late_s(self, kind: str) -> float | None:
        """None where too few were counted."""
        count, mean = self._late.get(kind, (0, 0.0))
        return mean if count >= LEAST_ANSWERS else None

    def is_due(self, now: float) -> bool:
        """Whether it is to be judged again."""
        due = now - self._judged_at >= JUDGE_S
        self._judged_at = now if due else self._judged_at
        return due

    def set_aside(self, reason: str, now: float) -> None:
        if now - self.aside_until > FORGIVEN_S:
            self._times = 0
        self.aside_until = now + min(MOST_S, FIRST_S * 2**self._times)
        self.reason = reason
        self._times += 1
        # Judged by what it does when it is asked again.
        self._outcomes.clear()
        self._late.clear()


def judge(records: Mapping[str, Record], name: str, now: float) -> str:
    """Set a server aside where it is an outlier, and as many others as may be are not; returns why, or ""."""
    own = records[name]
    if own.aside_until > now:
        return ""
    others = [record for other, record in records.items() if other != name and record.aside_until <= now]
    reason = _failing(own, others, now) or _late(own, others)
    aside = len(records) - 1 - len(others)
    if not reason or not others or aside + 1 > max(1, int(MOST_SHARE * len(records))):
        return ""
    own.set_aside(reason, now)
    return reason


def _failing(own: Record, others: Sequence[Record], now: float) -> str:
    failures, answers = own.counts(now)
    if failures < LEAST_FAILURES or failures < FAILING_SHARE * answers:
        return ""
    elsewhere = [record.counts(now) for record in others]
    if sum(failed for failed, _ in elsewhere) > OTHERS_SHARE * sum(count for _, count in elsewhere):
        return ""
    return f"{failures} of its last {answers} answers failed"


def _late(own: Record, others: Sequence[Record]) -> str:
    for kind in own._late:
        mean = own.mean_late_s(kind)
        means = [told for record in others if (told := record.mean_late_s(kind)) is not None]
        if mean is None or not means:
            continue
        usual = statistics.median(means)
        if mean > LATER_TIMES * usual and mean > usual + LATER_S:
            return f"its answers come after {mean:.2g} s, those of the others after {usual:.2g} s"
    return ""
