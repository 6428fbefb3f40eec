"""Uploads that are here as a whole and have not taken their place of work yet: the application's task, which does that,
runs a turn of the loop later, and whatever else is read meanwhile would be taken for the last place as well."""

from __future__ import annotations

# In a request's scope: its Arrival.
ARRIVAL = "asr.arrival"


class Arrivals:
    """How many there are in this process."""

    def __init__(self) -> None:
        self.count = 0

    def new(self) -> Arrival:
        """An upload whose headers are here."""
        return Arrival(self)


class Arrival:
    """One upload."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._counts = self._over = False

    def complete(self) -> None:
        """All of it is here: who asks for a place now is behind it."""
        if not self._counts and not self._over:
            self._counts = True
            self._arrivals.count += 1

    def over(self) -> None:
        """It has its place, or is not to have one."""
        self._over = True
        if self._counts:
            self._counts = False
            self._arrivals.count -= 1
