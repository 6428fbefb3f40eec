"""A clip's speech as blocks of log-mel: pure functions over arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .log_mel import HOP, N_FFT, N_MELS, SAMPLE_RATE_HZ, log_mel_in_parts

BLOCK_FRAMES = 800
# What Qwen3-ASR's own code does with shorter clips: zeros up to half a second.
MIN_SAMPLES = SAMPLE_RATE_HZ // 2
# What no sound is, in log10 of the mel power.
SILENT = -10.0


@dataclass(frozen=True)
class Blocks:
    """mel float32 [N, 128, 800] (log10, not clamped), frames int32 [N, 1], clip_max float32 [N, 1]."""

    mel: NDArray[np.float32]
    frames: NDArray[np.int32]
    clip_max: NDArray[np.float32]


def speech_of(pcm: NDArray[np.float32], spans: NDArray[np.int32]) -> NDArray[np.float32]:
    """The samples inside of `spans` [S, 2], one after the other.

    Raises ValueError where a span is empty, backwards, out of the clip, or overlaps the one before it.
    """
    edges = spans.astype(np.int64).ravel()
    if edges.size and (
        edges[0] < 0 or edges[-1] > pcm.size or (np.diff(edges) < 0).any() or (np.diff(spans) <= 0).any()
    ):
        raise ValueError(f"SPEECH must be ordered spans of samples within 0 and {pcm.size}")
    if len(spans) == 1:
        return pcm[edges[0] : edges[1]]
    return np.concatenate([pcm[start:end] for start, end in spans] or [pcm[:0]])


def blocks_of(speech: NDArray[np.float32], max_blocks: int, left_context: int = 0) -> Blocks:
    """Cut a clip into blocks of 8 s; no samples give one block with no valid frame.

    left_context: samples at the beginning that belong to what came before. They fill the first STFT windows, as they do
    in the whole clip, and have no frames of their own; clip_max is then the maximum of these frames alone, and a single
    block is only as long as it has frames.
    Raises ValueError where there would be more than `max_blocks`, or where the context is no use.
    """
    check(speech.size, max_blocks, left_context)
    *_, blocks = blocks_in_parts(speech, left_context)
    assert blocks is not None
    return blocks


def check(num_samples: int, max_blocks: int, left_context: int = 0) -> None:
    """Raises ValueError as `blocks_of`."""
    if not left_context:
        if -(-num_samples // (BLOCK_FRAMES * HOP)) > max_blocks:
            raise ValueError(
                f"the clip has {num_samples / SAMPLE_RATE_HZ:.1f} s of speech; {max_blocks * 8} s are the most: "
                "cut it at a pause and send the parts"
            )
        return
    if left_context % HOP or left_context < N_FFT // 2:
        raise ValueError(f"left_context must be a multiple of {HOP} samples and at least {2 * HOP}, not {left_context}")
    if num_samples < left_context + HOP:
        raise ValueError(f"after {left_context} samples of context, PCM holds no frame")
    if num_samples > left_context + (max_blocks * BLOCK_FRAMES + 1) * HOP:
        raise ValueError(f"PCM holds more than {max_blocks} blocks")


def blocks_in_parts(speech: NDArray[np.float32], left_context: int = 0) -> Iterator[Blocks | None]:
    """`blocks_of` in short runs, for a clip that was checked: None after each but the last, then what that returns."""
    if speech.size == 0:
        yield Blocks(
            np.full((1, N_MELS, BLOCK_FRAMES), SILENT, dtype=np.float32),
            np.zeros((1, 1), dtype=np.int32),
            np.full((1, 1), SILENT, dtype=np.float32),
        )
        return
    if not left_context and speech.size < MIN_SAMPLES:
        speech = np.pad(speech, (0, MIN_SAMPLES - speech.size))
    for mel in log_mel_in_parts(speech):
        yield None if mel is None else _blocks(mel[:, left_context // HOP :], whole=not left_context)


def _blocks(mel: NDArray[np.float32], *, whole: bool) -> Blocks:
    num_frames = mel.shape[1]
    clip_max = mel.max()
    if not whole and num_frames <= BLOCK_FRAMES:
        frames = np.array([[num_frames]], dtype=np.int32)
        return Blocks(np.ascontiguousarray(mel)[None], frames, np.full((1, 1), clip_max, dtype=np.float32))
    num_blocks = -(-num_frames // BLOCK_FRAMES)
    blocks = np.empty((num_blocks, N_MELS, BLOCK_FRAMES), dtype=np.float32)
    for block in range(num_blocks):
        part = mel[:, block * BLOCK_FRAMES : (block + 1) * BLOCK_FRAMES]
        blocks[block, :, : part.shape[1]] = part
        blocks[block, :, part.shape[1] :] = SILENT
    starts = np.arange(num_blocks) * BLOCK_FRAMES
    return Blocks(
        blocks,
        np.minimum(num_frames - starts, BLOCK_FRAMES).astype(np.int32)[:, None],
        np.full((num_blocks, 1), clip_max, dtype=np.float32),
    )
