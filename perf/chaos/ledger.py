"""What was sent and what was answered: each utterance of a session, each file, once and right, or not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Entry:
    """One session or file. kind: ws, realtime or file. expected: its texts in order, as an undisturbed one has them."""

    kind: str
    expected: list[str]
    # Numbers of utterances, from 0, with the text each time one was told.
    heard: list[tuple[int, str]] = field(default_factory=list)
    # Text that had been called stable, or streamed, and did not stay.
    taken_back: int = 0
    # So often the client had to begin again: its connection went with the frontend.
    anew: int = 0
    # So often it was told to come again later (408, 429, 503, 507 with Retry-After), and did.
    told_to_wait: int = 0
    errors: list[str] = field(default_factory=list)

    def again(self) -> None:
        """The client begins from the beginning; what it heard of the first trial it throws away."""
        self.anew += 1
        self.heard.clear()


@dataclass(frozen=True)
class Balance:
    """lost: utterances and files without an answer. doubled: told more than once. wrong: with another text, or with
    text taken back."""

    entries: int
    answers: int
    lost: int
    doubled: int
    wrong: int
    anew: int
    told_to_wait: int
    errors: list[str]

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)


def balance(entries: list[Entry], may_begin_anew: bool = False) -> Balance:
    """What became of everything that was sent. may_begin_anew: the frontend itself was killed; otherwise a connection
    that broke is a loss."""
    lost = doubled = wrong = answers = 0
    errors: list[str] = []
    for entry in entries:
        told = Counter(number for number, _ in entry.heard)
        answers += len(entry.heard)
        lost += sum(1 for number in range(len(entry.expected)) if not told[number])
        doubled += sum(count - 1 for count in told.values())
        # An utterance that nobody spoke is wrong as well.
        wrong += sum(
            1 for number, text in entry.heard if number >= len(entry.expected) or text != entry.expected[number]
        )
        wrong += entry.taken_back
        lost += 0 if may_begin_anew else entry.anew
        errors += entry.errors
        for number, text in entry.heard:
            if number >= len(entry.expected) or text != entry.expected[number]:
                wanted = entry.expected[number] if number < len(entry.expected) else None
                errors.append(f"{entry.kind}, utterance {number}: {text!r} for {wanted!r}")
    return Balance(
        len(entries),
        answers,
        lost,
        doubled,
        wrong,
        sum(entry.anew for entry in entries),
        sum(entry.told_to_wait for entry in entries),
        errors,
    )
