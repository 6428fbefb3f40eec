"""Whose voices are one speaker's: pure functions over voices of unit length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import squareform

from .record import Record

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]
# Shorter turns are too little of a voice to found a speaker, and a speaker has at least so much of the speech.
LEAST_TURN_S, LEAST_SPEAKER_S, LEAST_SHARE = 1.0, 2.0, 0.08
# How much a reference weighs beside turns.
REFERENCE_S = 5.0
# Of the second step, which ends by itself before: each round but the last has one centre less.
MOST_ROUNDS = 200
# So many do not talk; nor does what is none of anybody's voice make more of them.
MOST_SPEAKERS = 100


@dataclass(frozen=True)
class Limits:
    """How many speakers there are, at least and at most; 0: that is to be found."""

    at_least: int = 0
    at_most: int = 0


def clustered(voices: Floats, seconds: Floats, known: Floats, limits: Limits, record: Record) -> Numbers:
    """The speaker of each turn: those who are known by their places in `known`, the others by numbers from there on,
    without gaps, in no order.

    voices: [N, D]; seconds: [N], how much of each was heard; known: [K, D]. First turns that are long enough are joined
    by the average distance of their voices, and who sounds like somebody known is taken for them. Then speakers of whom
    there is too little are dissolved and those alike merged, each turn going to the nearest one every time.
    """
    if len(voices) == 0:
        return np.zeros(0, dtype=np.int32)
    founded = _founded(voices, seconds, limits, record)
    centres = [*known, *_strangers(np.stack(founded), known, record)]
    for _ in range(MOST_ROUNDS):
        nearest = (voices @ np.stack(centres).T).argmax(axis=1)
        spoken = np.bincount(nearest, weights=seconds, minlength=len(centres))
        if len(centres) > max(1, limits.at_least, len(known)) and _is_little(spoken[len(known) :], spoken.sum()):
            centres.pop(len(known) + int(spoken[len(known) :].argmin()))
            continue
        centres = [
            _centre(voices[nearest == number], seconds[nearest == number], known[number : number + 1], old)
            for number, old in enumerate(centres)
        ]
        pair = _to_merge(centres, len(known), limits, record)
        if pair is None:
            break
        one, other = pair
        # Who is known stays who they are: the first ones are.
        if one >= len(known):
            centres[one] = _unit(centres[one] * spoken[one] + centres[other] * spoken[other])
        centres.pop(other)
    nearest = (voices @ np.stack(centres).T).argmax(axis=1)
    others = nearest >= len(known)
    nearest[others] = len(known) + np.unique(nearest[others], return_inverse=True)[1]
    return nearest.astype(np.int32)


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
    if found.max() > MOST_SPEAKERS:
        found = fcluster(tree, MOST_SPEAKERS, "maxclust")
    return [
        _unit((chosen[found == number] * weights[found == number, None]).sum(axis=0))
        for number in range(1, int(found.max()) + 1)
    ]


def _strangers(founded: Floats, known: Floats, record: Record) -> list[Floats]:
    """Those of whom nobody is known. The nearest of all may be as far from a reference as `known`; who else is taken
    for the same one has to be as near as `known_again`."""
    if not len(known):
        return list(founded)
    apart = 1.0 - founded @ known.T
    pairs = zip(*linear_sum_assignment(apart), strict=True)
    nearest = {int(row) for row, column in pairs if apart[row, column] <= record.known}
    return [one for row, one in enumerate(founded) if row not in nearest and apart[row].min() > record.known_again]


def _is_little(spoken: NDArray[Any], of: float) -> bool:
    """Whether there is too little of somebody; at the beginning of a conversation there is of everybody. of: seconds of
    all."""
    if not spoken.size:
        return False
    least = spoken.min()
    return bool(least <= 0 or (least < max(LEAST_SPEAKER_S, LEAST_SHARE * of) and of >= 2 * LEAST_SPEAKER_S))


def _centre(voices: Floats, seconds: Floats, reference: Floats, before: Floats) -> Floats:
    """Of the turns that are somebody's; where there are none, as it was. reference: [1, D] of one who is known, which
    counts as some seconds, [0, D] of the others."""
    if not len(voices):
        return before
    return _unit((voices * seconds[:, None]).sum(axis=0) + REFERENCE_S * reference.sum(axis=0))


def _to_merge(centres: list[Floats], num_known: int, limits: Limits, record: Record) -> tuple[int, int] | None:
    """The two speakers that are most alike, the first one first, where they are one or there are too many; never two
    that are known."""
    if len(centres) <= max(1, limits.at_least, num_known):
        return None
    apart = 1.0 - np.stack(centres) @ np.stack(centres).T
    np.fill_diagonal(apart, np.inf)
    apart[:num_known, :num_known] = np.inf
    one, other = sorted(divmod(int(apart.argmin()), len(centres)))
    is_too_many = 0 < limits.at_most < len(centres)
    return (one, other) if is_too_many or apart[one, other] < record.merge else None


def _unit(voice: Floats) -> Floats:
    return (voice / max(1e-9, float(np.linalg.norm(voice)))).astype(np.float32)
