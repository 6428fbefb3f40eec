"""A stretch of speech as turns: where somebody else may have begun to speak, and the voice of each turn."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .record import Record
from .voice_features import HOP, SAMPLE_RATE_HZ, features, levels

Floats = NDArray[np.float32]
# Windows that are to be embedded, all of one length; their voices are sent in.
Asking = Generator[Floats, Floats, "list[HeardTurn]"]
# A pause behind which a turn begins anyway: turns of one speaker are joined by their voices.
LONG_PAUSE = int(0.7 * SAMPLE_RATE_HZ)
# Behind a long pause somebody else begins more often than between words said at once: a second counts as so much
# distance, from the usual pause on.
PAUSE_COUNTS, USUAL_PAUSE_S, MOST_PAUSE_S = 0.6, 0.3, 0.6
# Places whose windows are held at a time.
PLACES_AT_ONCE = 128
# A turn's voice is the mean of no more windows than this, which lie evenly in it.
MOST_WINDOWS = 24


@dataclass(frozen=True)
class HeardTurn:
    """first, last: its spans, both included; voice: of unit length; seconds: of speech in it."""

    first: int
    last: int
    voice: Floats
    seconds: float


def turns_of(pcm: Floats, spans: NDArray[np.int32], record: Record, *, divided: bool = False) -> Asking:
    """The turns of `spans` [N, 2] in order. Yields windows float32 [windows, frames, mels] and takes their voices.
    divided: each span is a turn."""
    whole = features(pcm, record.features, record.num_mels)
    # How loud each frame is goes with it, until it is part of a window.
    whole = np.concatenate([whole, levels(pcm, len(whole))[:, None]], axis=1)
    frames = round(record.window_s * 100)
    parts = [whole[start // HOP : max(start // HOP + 1, -(-end // HOP))] for start, end in spans.tolist()]
    groups: list[list[int]] = []
    for run in _runs(spans):
        if divided:
            groups += [[index] for index in run]
            continue
        pauses = (spans[run[1:], 0] - spans[run[:-1], 1]) / SAMPLE_RATE_HZ
        groups += yield from _divided(run, pauses, parts, frames, record)
    turns = []
    for group in groups:
        heard = np.concatenate([parts[index] for index in group])
        voices = yield _as_loud(_windows(heard, frames, round(record.hop_s * 100)), record)
        mean = voices.mean(axis=0)
        voice = mean / max(1e-9, float(np.linalg.norm(mean)))
        turns.append(HeardTurn(group[0], group[-1], voice, len(heard) * HOP / SAMPLE_RATE_HZ))
    return turns


def _runs(spans: NDArray[np.int32]) -> list[list[int]]:
    """Numbers of spans that no long pause divides."""
    runs: list[list[int]] = []
    for index, (start, _) in enumerate(spans.tolist()):
        if runs and start - int(spans[index - 1, 1]) < LONG_PAUSE:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _divided(
    run: list[int], pauses: NDArray[np.float64], parts: list[Floats], frames: int, record: Record
) -> Generator[Floats, Floats, list[list[int]]]:
    """A run of spans as turns: divided where what is said before sounds more unlike what follows than around it.
    pauses: seconds between each and the next."""
    if len(run) < 2:
        return [run]
    apart = np.empty(0, dtype=np.float32)
    for first in range(1, len(run), PLACES_AT_ONCE):
        sides = []
        for place in range(first, min(first + PLACES_AT_ONCE, len(run))):
            sides += [_last(run[:place], parts, frames), _first(run[place:], parts, frames)]
        # Of one length, so that they share a run of the network: what is shorter is repeated.
        voices = yield _as_loud(np.stack([_filled(side, frames) for side in sides]), record)
        apart = np.concatenate([apart, 1.0 - np.einsum("nd,nd->n", voices[::2], voices[1::2])])
    # The mean of two neighbours has no sharp peak where spans are short: the largest of each neighbourhood divides.
    apart = apart + PAUSE_COUNTS * (np.clip(pauses, 0, MOST_PAUSE_S) - USUAL_PAUSE_S)
    edged = np.pad(apart, 1)
    peaks = (apart > record.turn) & (apart >= edged[:-2]) & (apart >= edged[2:])
    groups: list[list[int]] = [[run[0]]]
    for place, divides in enumerate(peaks.tolist(), 1):
        if divides:
            groups.append([run[place]])
        else:
            groups[-1].append(run[place])
    return groups


def _as_loud(windows: Floats, record: Record) -> Floats:
    """Windows whose last column is each frame's power, without it; power features of what is quieter than the encoder
    is used to are made as loud. (Logarithmic ones lose their mean anyway.)"""
    heard, power = windows[..., :-1], windows[..., -1].mean(axis=1)
    if record.normalize_dbfs is None or record.features != "mel_power":
        return np.ascontiguousarray(heard)
    wanted = 10 ** (record.normalize_dbfs / 10)
    return heard * np.maximum(1.0, wanted / np.maximum(power, 1e-12))[:, None, None].astype(np.float32)


def _last(indices: list[int], parts: list[Floats], frames: int) -> Floats:
    chosen: list[Floats] = []
    for index in reversed(indices):
        chosen.insert(0, parts[index])
        if sum(map(len, chosen)) >= frames:
            break
    return np.concatenate(chosen)[-frames:]


def _first(indices: list[int], parts: list[Floats], frames: int) -> Floats:
    chosen: list[Floats] = []
    for index in indices:
        chosen.append(parts[index])
        if sum(map(len, chosen)) >= frames:
            break
    return np.concatenate(chosen)[:frames]


def _filled(heard: Floats, frames: int) -> Floats:
    """So many frames: repeated where there are fewer."""
    return heard[:frames] if len(heard) >= frames else np.resize(heard, (frames, heard.shape[1]))


def _windows(heard: Floats, frames: int, hop: int) -> Floats:
    """Windows of a turn's speech, its last frames among them."""
    if len(heard) <= frames:
        return _filled(heard, frames)[None]
    starts = np.unique([*range(0, len(heard) - frames + 1, hop), len(heard) - frames])
    if len(starts) > MOST_WINDOWS:
        starts = starts[np.linspace(0, len(starts) - 1, MOST_WINDOWS).round().astype(int)]
    return np.stack([heard[start : start + frames] for start in starts])
