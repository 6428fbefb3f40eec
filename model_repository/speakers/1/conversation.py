"""A conversation so far: the voices of its turns, and who is who. It travels with the requests, as bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from .clustering import MOST_SPEAKERS, Limits, clustered
from .record import Record
from .stretch import HeardTurn

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]
# What is remembered: of the newest turns who spoke; of voices so many entries, several older turns of a speaker in one.
# An hour of talk with a turn every two seconds.
MOST_TURNS, MOST_VOICES, MOST_KNOWN = 2_000, 512, 20
# Of one entry: days.
MOST_SECONDS = 1e6
HEADER, MAGIC = struct.Struct("<4s5I"), b"QSP1"
NOBODY = -1


class StateError(ValueError):
    """STATE did not come from this model."""


@dataclass
class Conversation:
    """width: of a voice. voices [E, D], seconds [E], whose [E]: entries; entry_of [T]: of the newest turns, the first
    of which has the number `first`; known [K, D]: voices of those who are known."""

    width: int
    known: Floats = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    voices: Floats = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    seconds: Floats = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    whose: Numbers = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    entry_of: Numbers = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    first: int = 0

    def __post_init__(self) -> None:
        self.known = self.known.reshape(-1, self.width)
        self.voices = self.voices.reshape(-1, self.width)

    @property
    def next_turn(self) -> int:
        """The number of the next turn."""
        return self.first + len(self.entry_of)

    def know(self, voice: Floats) -> None:
        """Somebody's reference. Raises ValueError where there are too many, or it comes after the first turn."""
        if self.next_turn:
            raise ValueError("references come before the first stretch of a conversation")
        if len(self.known) >= MOST_KNOWN:
            raise ValueError(f"{MOST_KNOWN} known speakers are the most")
        self.known = np.concatenate([self.known, voice[None]])

    def add(self, turns: list[HeardTurn], limits: Limits, record: Record) -> None:
        """What was said next; then say anew who is who."""
        entries = np.arange(len(turns), dtype=np.int32) + len(self.voices)
        self.voices = np.concatenate([self.voices, *(turn.voice[None] for turn in turns)])
        self.seconds = np.concatenate([self.seconds, np.array([turn.seconds for turn in turns], dtype=np.float32)])
        self.whose = np.concatenate([self.whose, np.full(len(turns), NOBODY, dtype=np.int32)])
        self.entry_of = np.concatenate([self.entry_of, entries])
        self._judge(limits, record)
        self._forget()

    def speakers(self) -> Numbers:
        """[T, 2]: number and speaker of the newest turns."""
        numbers = np.arange(len(self.entry_of), dtype=np.int32) + self.first
        return np.stack([numbers, self.whose[self.entry_of]], axis=1).astype(np.int32)

    def _judge(self, limits: Limits, record: Record) -> None:
        found = clustered(self.voices, self.seconds, self.known, limits, record)
        named = {number: number for number in range(len(self.known))}
        self._keep_names(found, named)
        self.whose = np.array([named[one] for one in found.tolist()], dtype=np.int32)

    def _keep_names(self, found: Numbers, named: dict[int, int]) -> None:
        """Give the others the numbers that most of their turns had, and the lowest free ones in the order of their
        first turns: speakers that were found to be one leave a number free."""
        fresh = [number for number in dict.fromkeys(found.tolist()) if number not in named]
        before = sorted({one for one in self.whose.tolist() if one >= len(self.known)})
        shared = np.array(
            [[float(self.seconds[(found == number) & (self.whose == old)].sum()) for old in before] for number in fresh]
        ).reshape(len(fresh), len(before))
        for row, column in zip(*linear_sum_assignment(-shared), strict=True):
            if shared[row, column] > 0:
                named[fresh[row]] = before[column]
        for number in fresh:
            if number not in named:
                taken = set(named.values())
                # So many do not talk: who comes then is the last one.
                free = (one for one in range(len(self.known), MOST_SPEAKERS) if one not in taken)
                named[number] = next(free, MOST_SPEAKERS)

    def _forget(self) -> None:
        """Old turns of one speaker share an entry, and the oldest turns are forgotten."""
        if len(self.entry_of) > MOST_TURNS:
            gone = len(self.entry_of) - MOST_TURNS
            self.entry_of, self.first = self.entry_of[gone:], self.first + gone
        while len(self.voices) > MOST_VOICES:
            self._merge_old(len(self.voices) - MOST_VOICES)

    def _merge_old(self, excess: int) -> None:
        """Let so many entries, or as many as there are pairs, share one with another. Among more than there are
        speakers there is a pair."""
        # The older part, two and two of the same speaker: the newest keep a voice of their own.
        target = np.arange(len(self.voices))
        open_entry: dict[int, int] = {}
        for entry in range(len(self.voices) - MOST_VOICES // 4):
            if excess <= 0:
                break
            speaker = int(self.whose[entry])
            if speaker in open_entry:
                target[entry] = open_entry.pop(speaker)
                excess -= 1
            else:
                open_entry[speaker] = entry
        kept, place = np.unique(target, return_inverse=True)
        sums = np.zeros((len(kept), self.width), dtype=np.float32)
        np.add.at(sums, place, self.voices * self.seconds[:, None])
        self.voices = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
        self.seconds = np.bincount(place, weights=self.seconds).astype(np.float32)
        self.whose = self.whose[kept]
        self.entry_of = place[self.entry_of].astype(np.int32)

    def to_bytes(self) -> NDArray[np.uint8]:
        """uint8 [*], read by `from_bytes`."""
        sizes = (self.width, len(self.known), len(self.voices), len(self.entry_of), self.first)
        arrays = (
            self.known.astype("<f2"),
            self.voices.astype("<f2"),
            self.seconds.astype("<f4"),
            self.whose.astype("<i4"),
            self.entry_of.astype("<i4"),
        )
        data = HEADER.pack(MAGIC, *sizes) + b"".join(one.tobytes() for one in arrays)
        return np.frombuffer(data, dtype=np.uint8)

    @classmethod
    def from_bytes(cls, data: bytes, width: int) -> Conversation:
        """Raises StateError where it is none of this model's: it comes from a client."""
        if len(data) < HEADER.size or not data.startswith(MAGIC):
            raise StateError("STATE did not come from this model")
        _, of, known, voices, turns, first = HEADER.unpack_from(data)
        bounds = known <= MOST_KNOWN and voices <= MOST_VOICES and turns <= MOST_TURNS
        size = HEADER.size + 2 * of * (known + voices) + 8 * voices + 4 * turns
        if of != width or not bounds or first > 2**30 or len(data) != size:
            raise StateError("STATE did not come from this model, or from another speaker encoder")
        place = HEADER.size

        def take(count: int, kind: str) -> NDArray[np.generic]:
            nonlocal place
            taken = np.frombuffer(data, dtype=kind, count=count, offset=place)
            place += taken.nbytes
            return taken

        made = cls(
            width,
            take(known * of, "<f2").astype(np.float32),
            take(voices * of, "<f2").astype(np.float32),
            take(voices, "<f4").astype(np.float32),
            take(voices, "<i4").astype(np.int32),
            take(turns, "<i4").astype(np.int32),
            first,
        )
        made._check()
        return made

    def _check(self) -> None:
        numbers = np.isfinite(self.voices).all() and np.isfinite(self.known).all() and np.isfinite(self.seconds).all()
        inside = self.entry_of.size == 0 or (self.entry_of.min() >= 0 and self.entry_of.max() < len(self.voices))
        whose = self.whose.size == 0 or (self.whose.min() >= 0 and self.whose.max() <= MOST_SPEAKERS)
        small = all(np.abs(one).max(initial=0) < 2 for one in (self.voices, self.known))
        lengths = (self.seconds >= 0).all() and self.seconds.max(initial=0) < MOST_SECONDS
        if not (numbers and inside and whose and small and lengths):
            raise StateError("STATE holds numbers that no answer has")
