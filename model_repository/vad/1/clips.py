"""A request whose answer is made a part at a time. `vad` and `features` have this file, by links."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from .answers import Answer

# None after each part but the last, then the answer's tensors by name; ValueError where the request is at fault.
Parts = Iterator[dict[str, NDArray[Any]] | None]


class Clip:
    """A job of its room's turns."""

    def __init__(self, room: str, parts: Parts, num_bytes: int, priority: int, answer: Answer) -> None:
        """room: its name, for messages."""
        self.priority = priority
        self.num_bytes = num_bytes
        self._room = room
        self._parts = parts
        self._answer = answer

    def advance(self) -> bool:
        """Make the next part; returns whether there is more to do."""
        try:
            tensors = next(self._parts)
        except ValueError as error:
            self._answer.refuse(str(error))
            return False
        if tensors is None:
            return True
        self._answer.give(**tensors)
        return False

    def is_cancelled(self) -> bool:
        return self._answer.is_cancelled()

    def fail(self, message: str) -> None:
        self._answer.fail(f"{self._room} failed: {message}")


def advance(clips: list[Clip]) -> list[Clip]:
    """One part of each; returns those that are not done."""
    return [clip for clip in clips if clip.advance()]
