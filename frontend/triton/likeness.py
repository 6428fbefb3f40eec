"""Servers that are to answer alike: the same checkpoint, and the same rooms beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Likeness:
    """What a client would notice. None: not known."""

    checkpoint: str | None = None
    aligner: bool | None = None
    speakers: bool | None = None

    def difference(self, usual: Likeness) -> str:
        """What of it is another than usual, as far as both are known; "" where nothing is."""
        if None not in (self.checkpoint, usual.checkpoint) and self.checkpoint != usual.checkpoint:
            return f"it serves {self.checkpoint}, the others {usual.checkpoint}"
        for name, own, others in (
            ("aligner", self.aligner, usual.aligner),
            ("speaker encoder", self.speakers, usual.speakers),
        ):
            if None not in (own, others) and own != others:
                return f"it has {'an' if own else 'no'} {name}, the others have {'one' if others else 'none'}"
        return ""


def differences(found: Mapping[str, Likeness], before: Likeness | None) -> tuple[Likeness | None, dict[str, str]]:
    """What most servers are, and by the others' names what they have otherwise. before: what most were, which decides
    between as many; where nobody knows, the first name does, so that several frontends choose alike."""
    known = Counter(found[name] for name in sorted(found) if found[name].checkpoint is not None)
    if not known:
        return before, {}
    usual = max(known, key=lambda one: (known[one], one == before))
    told = {name: one.difference(usual) for name, one in found.items()}
    return usual, {name: difference for name, difference in told.items() if difference}
