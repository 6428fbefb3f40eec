"""What became of an input: answered, refused, told to wait, hung up on; or what must not be."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

# What a server says where it did not see a mistake coming.
INTERNAL = re.compile(
    r"internal error|traceback|exception|failed:|failed and begins|Error\(|has no attribute|not subscriptable|errno",
    re.IGNORECASE,
)


class Answer(Enum):
    """ok: a result, empty or not. refused: a mistake was called one. busy: come again later, with the time to wait.
    closed: the connection ended without a word, as broken HTTP deserves. failed: a server error. late: nothing came in
    time."""

    OK = "ok"
    REFUSED = "refused"
    BUSY = "busy"
    CLOSED = "closed"
    FAILED = "failed"
    LATE = "late"


@dataclass(frozen=True)
class Outcome:
    """words: what was said, for whoever has to find the reason. is_http: a FAILED one is a 5xx."""

    answer: Answer
    words: str = ""
    is_http: bool = False


def http_outcome(answered: bytes, expected: bool) -> Outcome:
    """Of all bytes that came back. expected: whether the client waited for an answer."""
    head, _, body = answered.partition(b"\r\n\r\n")
    line = head.split(b"\r\n", 1)[0].decode("latin-1")
    parts = line.split(" ")
    if len(parts) < 2 or not parts[1].isdigit():
        return Outcome(Answer.CLOSED, "" if not expected else "an ended connection for an answer", is_http=True)
    status, words = int(parts[1]), f"{parts[1]} {body[:300].decode('utf-8', 'replace')}"
    if status in (429, 503, 507) and b"retry-after" in head.lower():
        return Outcome(Answer.BUSY, words, is_http=True)
    if status >= 500:
        # 501 is h11's, for codings that it does not know: a client's mistake, but a 5xx.
        return Outcome(Answer.FAILED, words, is_http=True)
    if status >= 400:
        return Outcome(Answer.REFUSED, words, is_http=True)
    if b'"server_error"' in body:
        return Outcome(Answer.FAILED, f"{status} {body[-300:].decode('utf-8', 'replace')}", is_http=True)
    return Outcome(Answer.OK, parts[1], is_http=True)


def grpc_outcome(message: str, code: str = "") -> Outcome:
    """Of an error. code: gRPC's name of it; a stream's errors have none."""
    words = f"{code} {message}".strip()
    if message.startswith("UNAVAILABLE"):
        return Outcome(Answer.BUSY, words)
    if code == "DEADLINE_EXCEEDED":
        return Outcome(Answer.LATE, words)
    if message.startswith("INVALID_ARGUMENT"):
        return Outcome(Answer.REFUSED, words)
    if INTERNAL.search(message) or code in ("UNKNOWN", "UNAVAILABLE"):
        return Outcome(Answer.FAILED, words)
    return Outcome(Answer.REFUSED, words)


@dataclass
class Tally:
    """Of a whole run: answers by kind, and each thing that was said, once, with the first input that met it."""

    answers: Counter[tuple[str, Answer]] = field(default_factory=Counter)
    said: dict[tuple[str, Answer, str], tuple[int, str]] = field(default_factory=dict)
    times: Counter[tuple[str, Answer, str]] = field(default_factory=Counter)
    slowest_s: float = 0.0
    num_5xx: int = 0

    def add(self, kind: str, number: int, outcome: Outcome, seconds: float) -> None:
        self.answers[kind, outcome.answer] += 1
        self.slowest_s = max(self.slowest_s, seconds)
        self.num_5xx += outcome.is_http and outcome.answer is Answer.FAILED
        # The same words about other numbers are the same words.
        key = (kind, outcome.answer, re.sub(r"-?\d+(\.\d+)?(e[+-]?\d+)?", "#", outcome.words)[:90])
        self.said.setdefault(key, (number, outcome.words[:300]))
        self.times[key] += 1

    def count(self, *answers: Answer) -> int:
        return sum(times for (_, answer), times in self.answers.items() if answer in answers)

    def rows(self) -> list[dict[str, object]]:
        """A row for each kind, as the page has it."""
        kinds = sorted({kind for kind, _ in self.answers})
        return [
            {"kind": kind, "inputs": sum(self.answers[kind, answer] for answer in Answer)}
            | {answer.value: self.answers[kind, answer] for answer in Answer}
            for kind in kinds
        ]

    def findings(self) -> list[str]:
        """What must not be, each once: kind, how often, the first input's number, what was said."""
        return [
            f"{kind}: {answer.value}, {self.times[kind, answer, key]} times, first input {number}: {words}"
            for (kind, answer, key), (number, words) in self.said.items()
            if answer in (Answer.FAILED, Answer.LATE)
        ]
