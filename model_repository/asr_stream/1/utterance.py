"""One utterance as it grows: what of it has to be computed again for its next hypothesis, and nothing else.

The encoder is a pure function of a block of 8 s, so full blocks are encoded once, and the decoder keeps their keys and
values. One thing ties blocks together: the clamp at the clip's maximum - 8 (in log10 of the mel power). A block that
was encoded under another maximum stays valid while neither clamp touches it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .rooms import Floats, Heard, Question, RoomFailed, Rooms

HOP = 160
BLOCK_FRAMES = 800
BLOCK_SAMPLES = BLOCK_FRAMES * HOP
# The STFT window of a block's last frame ends this many samples past the block.
WINDOW_REACH = 200
# Samples before a frame that its window reaches into, in whole frames.
CONTEXT_FRAMES = 2
# Shorter clips are filled up with zeros by `features`.
MIN_SAMPLES = 8_000
NUM_MELS = 128
SILENT = -10.0
CLAMP = 8.0
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
    """mel float32 [128, 800] of one block, with `frames` valid frames from `low` to `high`.

    embeddings [rows, D]: what the encoder made of it under the maximum `clip_max`, or None.
    """

    mel: Floats
    frames: int
    low: float
    high: float
    embeddings: Floats | None = None
    clip_max: float = 0.0

    @classmethod
    def of(cls, mel: Floats, frames: int) -> Block:
        valid = mel[:, :frames]
        return cls(mel, frames, float(valid.min()), float(valid.max()))

    def holds(self, clip_max: float) -> bool:
        """Whether its embeddings are those under this maximum as well: either clamp leaves the block as it is."""
        if self.embeddings is None:
            return False
        return clip_max == self.clip_max or self.low >= max(clip_max, self.clip_max) - CLAMP


@dataclass(frozen=True)
class Options:
    """How the decoder is to hear."""

    language: str = ""
    context: str = ""


@dataclass(frozen=True)
class Work:
    """What a hypothesis took: blocks encoded, embeddings sent, and milliseconds of each part."""

    blocks_encoded: int
    blocks_sent: int
    features_ms: float
    encoder_ms: float
    decoder_ms: float


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
        self.work = Work(0, 0, 0.0, 0.0, 0.0)

    async def hypothesis(self, end: int, options: Options, *, final: bool) -> Heard:
        """What is said up to the session's sample `end`: exactly what decoding those samples from the beginning gives.

        final: the decoder keeps nothing afterwards; of two sizes, the accurate one answers. Raises RoomFailed; then
        nothing is assumed to be kept.
        """
        fast = self._two_sizes and not final
        accurate_final = self._two_sizes and final
        started = time.monotonic()
        num_samples = end - self.start
        num_full = num_full_blocks(num_samples)
        first = min(len(self._full), num_full)
        mel = await self._mel(first, num_samples)
        heard = time.monotonic()
        blocks = self._full[:first] + _cut(mel)
        if accurate_final:
            # The other checkpoint's embeddings are of no use to this one.
            blocks = [Block(block.mel, block.frames, block.low, block.high) for block in blocks]
        stale = await self._encode(blocks, fast=fast)
        encoded = time.monotonic()
        if not accurate_final:
            self._full = blocks[:num_full]
            self._tail = mel[
                :, (num_full - first) * BLOCK_FRAMES : num_settled_frames(num_samples) - first * BLOCK_FRAMES
            ]
        kept = 0 if accurate_final else min([self._num_kept, num_full, *stale[:1]])
        # Until the decoder has answered, what it keeps is not known.
        self._num_kept = 0
        keep = 0 if final else num_full
        answer = await self._decode(blocks, kept, keep, options, fast=fast)
        self._num_kept = keep
        if accurate_final:
            await self.forget()
        self.draft = answer.token_ids
        ended = time.monotonic()
        spans = [1000 * seconds for seconds in (heard - started, encoded - heard, ended - encoded)]
        self.work = Work(len(stale), len(blocks) - kept, *(round(span, 3) for span in spans))
        return answer

    async def forget(self) -> None:
        """Let the decoder free what it keeps for this utterance."""
        if not self._is_known:
            return
        self._is_known = False
        await self._rooms.end_session(self.name, fast=self._two_sizes)

    async def _mel(self, first: int, num_samples: int) -> Floats:
        """Frames [128, count] of the utterance so far, from block number `first` on; only what is new is computed."""
        known = np.concatenate([*(block.mel for block in self._full[first:]), self._tail], axis=1)
        begin = first * BLOCK_FRAMES
        # An utterance's end may lie before what was heard of it.
        settled = min(begin + known.shape[1], num_settled_frames(num_samples))
        if settled < CONTEXT_FRAMES or num_samples < MIN_SAMPLES:
            # From its beginning, as `features` fills it up with zeros only then.
            settled = 0
        count = max(num_samples, MIN_SAMPLES) // HOP
        if settled >= count:
            return known[:, : count - begin]
        context = CONTEXT_FRAMES * HOP if settled else 0
        pcm = self._read(self.start + settled * HOP - context, self.start + num_samples)
        mel, frames = await self._rooms.features(pcm, context)
        fresh = [one[:, : int(valid)] for one, valid in zip(mel, frames[:, 0], strict=True)]
        return np.concatenate([known[:, : settled - begin], *fresh], axis=1)

    async def _encode(self, blocks: list[Block], *, fast: bool) -> list[int]:
        """Encode what is new or not valid any more; returns the numbers of those blocks."""
        clip_max = max(block.high for block in blocks)
        stale = [index for index, block in enumerate(blocks) if not block.holds(clip_max)]
        if not stale:
            return stale
        longest = max(blocks[index].frames for index in stale)
        length = next(length for length in LENGTHS if length >= longest)
        mel = np.stack([blocks[index].mel[:, :length] for index in stale])
        frames = np.array([[blocks[index].frames] for index in stale], dtype=np.int32)
        embeddings = await self._rooms.encode(
            mel, frames, np.full((len(stale), 1), clip_max, dtype=np.float32), fast=fast
        )
        for index, rows in zip(stale, embeddings, strict=True):
            blocks[index].embeddings, blocks[index].clip_max = rows, clip_max
        return stale

    async def _decode(self, blocks: list[Block], kept: int, keep: int, options: Options, *, fast: bool) -> Heard:
        for cached in dict.fromkeys((kept, 0)):
            embeddings, frames = _joined(blocks[cached:])
            question = Question(
                embeddings,
                frames,
                options.language,
                options.context,
                self.draft,
                # Without anything to keep, naming the session ends it.
                session=self.name if keep or self._is_known else "",
                cached_blocks=cached,
                keep_blocks=keep,
            )
            self._is_known = bool(question.session)
            answer = await self._rooms.decode(question, fast=fast)
            self._is_known = keep > 0
            if not answer.evicted:
                return answer
        raise RoomFailed("the decoder asked for blocks that were sent")


def _cut(mel: Floats) -> list[Block]:
    """Frames [128, count] as blocks of 800."""
    blocks = []
    for start in range(0, mel.shape[1], BLOCK_FRAMES):
        part = mel[:, start : start + BLOCK_FRAMES]
        filled = np.full((NUM_MELS, BLOCK_FRAMES), SILENT, dtype=np.float32)
        filled[:, : part.shape[1]] = part
        blocks.append(Block.of(filled, part.shape[1]))
    return blocks


def _joined(blocks: list[Block]) -> tuple[Floats, NDArray[np.int32]]:
    """Blocks for the decoder: embeddings [N, rows, D], as long as the longest, and frames [N, 1]."""
    rows = [block.embeddings for block in blocks]
    longest = max(one.shape[0] for one in rows if one is not None)
    width = next(one.shape[1] for one in rows if one is not None)
    joined = np.zeros((len(blocks), longest, width), dtype=np.float32)
    for index, one in enumerate(rows):
        assert one is not None
        joined[index, : one.shape[0]] = one
    return joined, np.array([[block.frames] for block in blocks], dtype=np.int32)
