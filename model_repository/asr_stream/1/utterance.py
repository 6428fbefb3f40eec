"""One utterance as it grows: what of it has to be computed again for its next hypothesis, and nothing else.

The encoder is a pure function of a block of 8 s, so full blocks are encoded once, and the decoder keeps their keys and
values. One thing ties blocks together: the clamp at the clip's maximum - 8 (in log10 of the mel power). A block that
was encoded under another maximum stays valid while neither clamp touches it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .log_mel import log_mel
from .rooms import Floats, Heard, Question, RoomFailed, Rooms

HOP = 160
BLOCK_FRAMES = 800
BLOCK_SAMPLES = BLOCK_FRAMES * HOP
# The STFT window of a block's last frame ends this many samples past the block.
WINDOW_REACH = 200
# Samples before a frame that its window reaches into, in whole frames.
CONTEXT_FRAMES = 2
# Shorter clips are filled up with zeros, as `features` does it.
MIN_SAMPLES = 8_000
# Samples whose mel power takes longer than others should wait for: some 5 ms.
MANY_SAMPLES = 8 * 16_000
NUM_MELS = 128
CLAMP = 8.0
# What is not a frame, as `features` has it.
EMPTY = -10.0
# Lengths at which a single, unfinished block is encoded.
LENGTHS = (200, 400, BLOCK_FRAMES)


def num_settled_frames(num_samples: int) -> int:
    """Frames of a clip that will not change when it grows: those whose STFT window ends within it."""
    return max(0, (num_samples - WINDOW_REACH) // HOP + 1)


def num_full_blocks(num_samples: int) -> int:
    """Blocks of a clip that will not change when it grows."""
    return max(0, (num_samples - WINDOW_REACH) // BLOCK_SAMPLES)


@dataclass
class Block:
    """mel float32 [128, count] of one block's valid frames, all of them from `low` to `high`.

    clip_max: the maximum under which it was encoded, or None.
    """

    mel: Floats
    low: float
    high: float
    clip_max: float | None = None

    @classmethod
    def of(cls, mel: Floats) -> Block:
        return cls(mel, float(mel.min()), float(mel.max()))

    @property
    def frames(self) -> int:
        """How many."""
        return self.mel.shape[1]

    def holds(self, clip_max: float) -> bool:
        """Whether what was made of it is the same under this maximum: either clamp leaves the block as it is."""
        if self.clip_max is None:
            return False
        return clip_max == self.clip_max or self.low >= max(clip_max, self.clip_max) - CLAMP


@dataclass(frozen=True)
class Options:
    """How the decoder is to hear."""

    language: str = ""
    context: str = ""
    hotwords: str = ""


@dataclass(frozen=True)
class Work:
    """What a hypothesis took: blocks encoded, and milliseconds of mel frames and of the step of encoder and decoder."""

    blocks_encoded: int
    features_ms: float
    step_ms: float


class Utterance:
    """Samples from `start` of the session on, read from the session's buffer as far as they are needed."""

    def __init__(
        self, name: str, number: int, start: int, read: Callable[[int, int], Floats], rooms: Rooms, *, two_sizes: bool
    ) -> None:
        """name: unique among all sessions of the decoder. two_sizes: partials by the fast checkpoint."""
        self.name = name
        self.number = number
        self.start = start
        self._read = read
        self._rooms = rooms
        self._two_sizes = two_sizes
        self._full: list[Block] = []
        # Settled frames behind them [128, count].
        self._tail: Floats = np.empty((NUM_MELS, 0), dtype=np.float32)
        # Full blocks whose keys and values the decoder keeps.
        self._num_kept = 0
        self._is_known = False
        self.draft: list[int] = []
        self.work = Work(0, 0.0, 0.0)

    async def hypothesis(self, end: int, options: Options, *, final: bool, ahead: bool = False) -> Heard:
        """What is said up to the session's sample `end`: exactly what decoding those samples from the beginning gives.

        final: the decoder keeps nothing afterwards; of two sizes, the accurate one answers. ahead: a final that may not
        be the last word: what is kept stays. Raises RoomFailed; then nothing is assumed to be kept.
        """
        # The accurate one of two answers by itself; what is kept is the fast one's.
        apart = self._two_sizes and final
        started = time.monotonic()
        num_samples = end - self.start
        num_full = num_full_blocks(num_samples)
        first = min(len(self._full), num_full)
        mel = await self._mel(first, num_samples)
        heard = time.monotonic()
        blocks = self._full[:first] + _cut(mel)
        clip_max = max(block.high for block in blocks)
        if not apart:
            self._full = blocks[:num_full]
            self._tail = mel[
                :, (num_full - first) * BLOCK_FRAMES : num_settled_frames(num_samples) - first * BLOCK_FRAMES
            ]
            keep = num_full if ahead or not final else 0
            answer, num_encoded = await self._go_on(blocks, num_full, keep, clip_max, options)
        else:
            num_encoded = len(blocks)
            answer = await self._rooms.step(self._question(blocks, clip_max, options), fast=False)
            if not ahead:
                self.forget()
        self.draft = answer.token_ids
        spans = [1000 * seconds for seconds in (heard - started, time.monotonic() - heard)]
        self.work = Work(num_encoded, *(round(span, 3) for span in spans))
        return answer

    def pcm(self, end: int) -> Floats:
        """Its samples up to the session's sample `end`, a copy."""
        return self._read(self.start, end).copy()

    def forget(self) -> None:
        """Let the decoder free what it keeps for this utterance."""
        if self._is_known:
            self._is_known = False
            self._num_kept = 0
            self._rooms.end_session(self.name, fast=self._two_sizes)

    async def _mel(self, first: int, num_samples: int) -> Floats:
        """Frames [128, count] of the utterance so far, from block number `first` on; only what is new is computed."""
        known = np.concatenate([*(block.mel for block in self._full[first:]), self._tail], axis=1)
        begin = first * BLOCK_FRAMES
        # An utterance's end may lie before what was heard of it.
        settled = min(begin + known.shape[1], num_settled_frames(num_samples))
        if settled < CONTEXT_FRAMES or num_samples < MIN_SAMPLES:
            # From its beginning, as it is filled up with zeros only then.
            settled = 0
        count = max(num_samples, MIN_SAMPLES) // HOP
        if settled >= count:
            return known[:, : count - begin]
        # The samples before the first frame fill its window, as they do in the whole clip.
        context = CONTEXT_FRAMES if settled else 0
        pcm = self._read(self.start + (settled - context) * HOP, self.start + num_samples)
        if num_samples < MIN_SAMPLES:
            pcm = np.pad(pcm, (0, MIN_SAMPLES - num_samples))
        fresh = log_mel(pcm) if pcm.size < MANY_SAMPLES else await asyncio.to_thread(log_mel, pcm)
        return np.concatenate([known[:, : settled - begin], fresh[:, context:]], axis=1)

    async def _go_on(
        self, blocks: list[Block], num_full: int, keep: int, clip_max: float, options: Options
    ) -> tuple[Heard, int]:
        """Ask about these blocks, of which the first `num_full` are full, where the decoder keeps some of them and is
        to keep `keep`; also how many were encoded for it."""
        stale = [index for index, block in enumerate(blocks) if not block.holds(clip_max)]
        kept = min([self._num_kept, num_full, *stale[:1]])
        # Until the decoder has answered, what it keeps is not known.
        self._num_kept = 0
        encoded = 0
        for cached in dict.fromkeys((kept, 0)):
            question = replace(
                self._question(blocks[cached:], clip_max, options),
                # Without anything to keep, naming the session ends it.
                session=self.name if keep or self._is_known else "",
                cached_blocks=cached,
                keep_blocks=keep,
            )
            self._is_known = bool(question.session)
            encoded += len(blocks) - cached
            answer = await self._rooms.step(question, fast=self._two_sizes)
            self._is_known = keep > 0
            if not answer.evicted:
                self._num_kept = keep
                for block in blocks[cached:]:
                    block.clip_max = clip_max
                return answer, encoded
        raise RoomFailed("the decoder asked for blocks that were sent")

    def _question(self, blocks: list[Block], clip_max: float, options: Options) -> Question:
        """About these blocks of a clip with this maximum."""
        longest = max(block.frames for block in blocks)
        length = next(length for length in LENGTHS if length >= longest)
        mel = np.full((len(blocks), NUM_MELS, length), EMPTY, dtype=np.float32)
        for index, block in enumerate(blocks):
            mel[index, :, : block.frames] = block.mel
        frames = np.array([[block.frames] for block in blocks], dtype=np.int32)
        return Question(mel, frames, clip_max, options.language, options.context, self.draft, hotwords=options.hotwords)


def _cut(mel: Floats) -> list[Block]:
    """Frames [128, count] as blocks of 800."""
    return [Block.of(mel[:, at : at + BLOCK_FRAMES]) for at in range(0, mel.shape[1], BLOCK_FRAMES)]
