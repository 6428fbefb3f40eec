"""Cutting a recording into segments at its pauses, while it is still being read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# Probabilities of speech and the new state, by the next samples and the state before.
Vad = Callable[[Floats, Floats], Awaitable[tuple[Floats, Floats]]]

SAMPLE_RATE_HZ = 16_000
WINDOW = 512
VAD_STATE = 320
# Silero's hysteresis: speech goes on until the probability falls this far below the threshold.
HYSTERESIS = 0.15


@dataclass(frozen=True)
class SegmentRules:
    """max_s: the longest segment; from early_s on it ends at a pause of pause_ms. padding_ms is kept around speech."""

    max_s: float = 30.0
    early_s: float = 12.0
    pause_ms: int = 480
    padding_ms: int = 300
    threshold: float = 0.5

    @property
    def early(self) -> int:
        """Windows from which on a pause ends a segment."""
        return int(self.early_s * SAMPLE_RATE_HZ) // WINDOW

    @property
    def longest(self) -> int:
        """Windows of the longest segment."""
        return int(self.max_s * SAMPLE_RATE_HZ) // WINDOW

    @property
    def pause(self) -> int:
        """Windows of a pause."""
        return max(1, self.pause_ms * 16 // WINDOW)


@dataclass(frozen=True)
class Segment:
    """Samples of a recording from number `start` on; probabilities: of speech in each 512 of them, where it was cut."""

    start: int
    pcm: Floats
    probabilities: Floats | None = None

    @property
    def end(self) -> int:
        return self.start + self.pcm.size


async def segments(parts: AsyncIterator[Floats], vad: Vad, rules: SegmentRules) -> AsyncGenerator[Segment, None]:
    """Speech in pieces, in order, without what is silent between them; nothing that is said is lost or doubled.

    parts: the recording's samples, float32 16 kHz. At most `max_s` of them are held.
    """
    state = np.zeros(VAD_STATE, dtype=np.float32)
    held = np.empty(0, dtype=np.float32)
    judged: list[float] = []
    start = 0
    async for part in parts:
        probabilities, state = await vad(part, state)
        held = np.concatenate([held, part])
        judged += probabilities.tolist()
        while (cut := _cut(judged, rules)) is not None:
            segment = _trimmed(start, held[: cut * WINDOW], judged[:cut], rules)
            if segment is not None:
                yield segment
            held, judged, start = held[cut * WINDOW :], judged[cut:], start + cut * WINDOW
    last = _trimmed(start, held, judged, rules)
    if last is not None:
        yield last


def _cut(judged: list[float], rules: SegmentRules) -> int | None:
    """Windows after which the segment ends, or None while it should grow."""
    silence = rules.threshold - HYSTERESIS
    # A part may bring more than one segment.
    judged = judged[: rules.longest]
    if len(judged) >= rules.early:
        # The middle of the first pause that is long enough, counted from where a segment may end.
        run = 0
        for index in range(max(0, rules.early - rules.pause), len(judged)):
            run = run + 1 if judged[index] < silence else 0
            if run >= rules.pause:
                return index + 1 - run // 2
    if len(judged) < rules.longest:
        return None
    # No pause: where speech is least probable, of its later half.
    first = rules.longest // 2
    smooth = np.convolve(judged[first : rules.longest], np.ones(3) / 3, mode="valid")
    return first + int(np.argmin(smooth)) + 1


def _trimmed(start: int, pcm: Floats, judged: list[float], rules: SegmentRules) -> Segment | None:
    """The segment without the silence at its ends; None where nothing is said."""
    voiced = [index for index, probability in enumerate(judged) if probability >= rules.threshold]
    # What is less than a window at the end was not judged.
    if not voiced:
        return None
    padding = rules.padding_ms * 16
    first = max(0, voiced[0] * WINDOW - padding)
    last = min(pcm.size, (voiced[-1] + 1) * WINDOW + padding)
    # Of whole windows, as they lie in it.
    window = -(-first // WINDOW)
    heard = np.array(judged[window : last // WINDOW], dtype=np.float32)
    return Segment(start + first, pcm[first:last], np.pad(heard, (int(first % WINDOW > 0), 0)))
