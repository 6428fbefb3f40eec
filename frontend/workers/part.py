"""What of a service one process is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from frontend.guard.counts import Counts
from frontend.guard.keys import Keys
from frontend.settings import Settings
from frontend.triton.backend import Backend


@dataclass(frozen=True)
class Part:
    """keys, counts: of the service, which all of its processes know alike. processes: how many there are. backend:
    makes this one's."""

    keys: Keys
    counts: Counts
    processes: int = 1
    backend: Callable[[Settings], Backend] = Backend

    def of(self, bound: int) -> int:
        """This process's share of a bound that is not counted over all."""
        return math.ceil(bound / self.processes)
