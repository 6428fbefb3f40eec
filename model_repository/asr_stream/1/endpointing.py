"""Where utterances begin and end: pure functions over probabilities and samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .settings import SAMPLES_PER_MS, Settings

# Samples of one voice activity probability.
WINDOW = 512
# Silero's hysteresis: speech goes on until the probability falls this far below the threshold.
HYSTERESIS = 0.15
# Finals are to be found so many samples before their pause ends.
HEAD_START = 800
# An utterance that grows too long is cut within its last part, where so many samples are the quietest.
CUT_RANGE = 0.3
CUT_SAMPLES = 1_600


@dataclass(frozen=True)
class Transition:
    """`started` or `stopped`, at a sample of the session."""

    kind: str
    sample: int


class Endpointer:
    """Hysteresis over probabilities: speech begins after min_speech_ms of it and ends after silence_ms without."""

    def __init__(self) -> None:
        self._position = 0
        self._run_start = -1
        self._silence_start = -1
        self.speaking = False
        # Samples up to which voice was heard.
        self.last_voice = 0

    def push(self, probability: float, settings: Settings) -> Transition | None:
        """Judge the next window of 512 samples."""
        start, self._position = self._position, self._position + WINDOW
        voiced = probability >= settings.threshold
        if voiced or (self._run_start >= 0 and probability >= settings.threshold - HYSTERESIS):
            self.last_voice = self._position
            self._run_start = start if self._run_start < 0 else self._run_start
            if voiced:
                self._silence_start = -1
        else:
            if not self.speaking:
                self._run_start = -1
            if self._silence_start < 0:
                self._silence_start = start
        if not self.speaking:
            if self._run_start >= 0 and self._position - self._run_start >= settings.min_speech_ms * SAMPLES_PER_MS:
                return self._start()
        elif self._silence_start >= 0 and self._position - self._silence_start >= settings.silence:
            return self.stop(self._silence_start)
        return None

    @property
    def position(self) -> int:
        """Samples judged so far."""
        return self._position

    @property
    def run_start(self) -> int:
        """Where the voice that may become speech begins, or -1."""
        return self._run_start

    @property
    def silence_start(self) -> int:
        """Where the silence at the end begins, or -1 while there is voice."""
        return self._silence_start

    def end_if_silence_lasts(self, start: int, settings: Settings) -> int | None:
        """Where an utterance that begins at `start` will end if nothing more is said, once all of these samples are
        judged; else None."""
        if settings.vad == "off" or self._silence_start < 0:
            return None
        end = max(self._silence_start + settings.padding, start + 1)
        return end if end <= self._position else None

    def next_change(self, settings: Settings) -> int:
        """The first sample at which the utterance may have ended, or, in a pause, at which it is known where it will
        end if nothing more is said. While there is voice, a little before its end in the pause that may begin now: so
        that much sound is enough to know that, and the final can be found ahead."""
        pause = self._silence_start if self._silence_start >= 0 else self._position
        known, ends = pause + settings.padding, pause + settings.silence
        change = ends
        if known < ends and self._silence_start < 0:
            change = max(known, ends - HEAD_START)
        elif self._position < known < ends:
            change = known
        # It turns out at the end of a window.
        return self._position + max(1, -(-(change - self._position) // WINDOW)) * WINDOW

    def start_early(self) -> Transition | None:
        """Take a beginning that is still shorter than min_speech_ms for speech, because no more will come."""
        return None if self.speaking or self._run_start < 0 else self._start()

    def stop(self, sample: int) -> Transition:
        """End the speech there."""
        self.speaking = False
        self._run_start = -1
        return Transition("stopped", sample)

    def skip_to(self, position: int) -> None:
        """Go on at another sample, silent: what lies between was not judged."""
        self._position = position
        self._run_start = -1
        self._silence_start = -1
        self.speaking = False

    def _start(self) -> Transition:
        self.speaking = True
        self._silence_start = -1
        return Transition("started", self._run_start)


def quietest(pcm: NDArray[np.float32]) -> int:
    """Where to cut an utterance that has grown to its longest: the middle of the quietest 100 ms of its last part.

    pcm: float32 [samples] of the utterance. Returns a sample within its last 30 %; of equals, the latest.
    """
    first = int(pcm.size * (1 - CUT_RANGE))
    part = pcm[first:].astype(np.float64)
    if part.size <= CUT_SAMPLES:
        return pcm.size
    total = np.concatenate([[0.0], np.cumsum(part**2)])
    energy = total[CUT_SAMPLES:] - total[:-CUT_SAMPLES]
    # Sums of squares differ by rounding where nothing is heard.
    quiet = np.flatnonzero(energy <= energy.min() * 1.01 + 1e-9)
    return first + int(quiet[-1]) + CUT_SAMPLES // 2
