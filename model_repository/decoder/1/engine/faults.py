"""When failed steps mean that nothing can be computed here any more."""

from __future__ import annotations

import logging

from torch import Tensor

logger = logging.getLogger(__name__)

# One request may fail a step; so many in a row are not the requests'.
MOST_IN_A_ROW = 10


class Faults:
    """Counts failed steps; after a fault of a GPU every operation of the process fails, whatever it computes."""

    def __init__(self, weights: Tensor) -> None:
        """weights: on the device whose health is in question."""
        self._weights = weights
        self._in_a_row = 0

    def none(self) -> None:
        """A step has succeeded."""
        self._in_a_row = 0

    def are_for_good(self) -> bool:
        """A step has failed: whether the next ones will fail as well."""
        self._in_a_row += 1
        return self._in_a_row >= MOST_IN_A_ROW or not self._computes()

    def _computes(self) -> bool:
        try:
            # Brought to the host, which waits for the device.
            self._weights[:1].float().sum().item()
        except Exception:
            logger.exception("the device does not compute any more")
            return False
        return True
