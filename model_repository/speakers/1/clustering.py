"""Whose voices are one speaker's: pure functions over voices of unit length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from .record import Record

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]
# Shorter turns are too little of a voice to found a speaker, and a speaker has at least so much of the speech.
LEAST_TURN_S, LEAST_SPEAKER_S, LEAST_SHARE = 1.0, 2.0, 0.08
# Of the second step, which ends by itself long before.
MOST_ROUNDS = 200


@dataclass(frozen=True)
class Limits:
    """How many speakers there are, at least and at most; 0: that is to be found."""

    at_least: int = 0
    at_most: int = 0


def clustered(voices: Floats, seconds: Floats, limits: Limits, record: Record) -> Numbers:
    """The speaker of each turn, from 0 on without gaps, in no order.

    voices: [N, D]; seconds: [N], how much of each was heard. First turns that are long enough are joined by the average
    distance of their voices; then speakers of whom there is too little are dissolved and those alike merged, each turn
    going to the nearest one every time.
    """
    if len(voices) == 0:
        return np.zeros(0, dtype=np.int32)
    centres = _founded(voices, seconds, limits, record)
    for _ in range(MOST_ROUNDS):
        nearest = (voices @ np.stack(centres).T).argmax(axis=1)
        spoken = np.bincount(nearest, weights=seconds, minlength=len(centres))
        if len(centres) > max(1, limits.at_least) and _is_little(spoken, limits):
            centres.pop(int(spoken.argmin()))
            continue
        centres = [
            centre if not (mine := nearest == number).any() else _unit((voices[mine] * seconds[mine, None]).sum(axis=0))
            for number, centre in enumerate(centres)
        ]
        pair = _to_merge(centres, limits, record)
        if pair is None:
            break
        one, other = pair
        both = _unit(centres[one] * spoken[one] + centres[other] * spoken[other])
        centres = [centre for number, centre in enumerate(centres) if number not in pair] + [both]
    nearest = (voices @ np.stack(centres).T).argmax(axis=1)
    return np.unique(nearest, return_inverse=True)[1].astype(np.int32)


def _founded(voices: Floats, seconds: Floats, limits: Limits, record: Record) -> list[Floats]:
    """First speakers, by turns that are long enough; while there are none, by the longest."""
    enough = np.flatnonzero(seconds >= LEAST_TURN_S)
    least = max(1, limits.at_least)
    if len(enough) < least:
        enough = np.sort(np.argsort(-seconds, kind="stable")[:least])
    chosen, weights = voices[enough], seconds[enough]
    if len(chosen) == 1:
        return [chosen[0]]
    apart = np.clip(1.0 - chosen @ chosen.T, 0.0, 2.0).astype(np.float64)
    np.fill_diagonal(apart, 0.0)
    tree = linkage(squareform(apart, checks=False), "average")
    found = fcluster(tree, record.join, "distance")
    if limits.at_least and found.max() < limits.at_least:
        found = fcluster(tree, limits.at_least, "maxclust")
    return [
        _unit((chosen[found == number] * weights[found == number, None]).sum(axis=0))
        for number in range(1, int(found.max()) + 1)
    ]


def _is_little(spoken: NDArray[Any], limits: Limits) -> bool:
    """Whether there is too little of somebody; at the beginning of a conversation there is of everybody."""
    if spoken.min() <= 0:
        return True
    return bool(spoken.min() < max(LEAST_SPEAKER_S, LEAST_SHARE * spoken.sum()) and spoken.max() >= LEAST_SPEAKER_S)


def _to_merge(centres: list[Floats], limits: Limits, record: Record) -> tuple[int, int] | None:
    """The two speakers that are most alike, where they are one or there are too many."""
    if len(centres) <= max(1, limits.at_least):
        return None
    apart = 1.0 - np.stack(centres) @ np.stack(centres).T
    np.fill_diagonal(apart, np.inf)
    one, other = divmod(int(apart.argmin()), len(centres))
    is_too_many = 0 < limits.at_most < len(centres)
    return (one, other) if is_too_many or apart[one, other] < record.merge else None


def _unit(voice: Floats) -> Floats:
    return (voice / max(1e-9, float(np.linalg.norm(voice)))).astype(np.float32)
