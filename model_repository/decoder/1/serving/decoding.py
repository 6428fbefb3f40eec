"""What the adapter, the metrics and the warm-up want of an engine, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from ..engine.sequence import Sequence
from ..engine.stats import Figures, Progress


class DecodingEngine(Protocol):
    """Methods may be called from any thread, and do not wait but to start and to stop.

    on_broken is called when nothing can be computed any more and everybody was told.
    """

    on_broken: Callable[[], None]

    @property
    def end_ids(self) -> Collection[int]:
        """Tokens that end an answer."""
        ...

    def start(self) -> None: ...

    def stop(self) -> None:
        """End; what still runs is told that it failed."""
        ...

    def submit(self, sequence: Sequence) -> None:
        """Queue a sequence. Raises ValueError where this engine could never answer it, RoomFull where too many of its
        priority are here, EngineStopped where the engine is stopping."""
        ...

    def cancel(self, request_id: str) -> None: ...

    def end_session(self, name: str) -> None: ...

    def progress(self) -> Progress: ...

    def figures(self) -> Figures: ...
