"""Times that never go backwards, out of times that were each chosen by themselves: the checkpoint's processor's rule.

As many as can be are kept: a longest subsequence that does not fall. What lies between two kept ones is an outlier: one
or two of them take the nearer kept time, more are spread evenly between both.
"""

from __future__ import annotations

import bisect


def mended(times: list[float]) -> list[int]:
    """Milliseconds as they are told, whole and never falling."""
    kept = _longest_rising(times)
    result = list(times)
    for before, after in zip([-1, *kept], [*kept, len(times)], strict=True):
        outliers = range(before + 1, after)
        left = times[before] if before >= 0 else None
        right = times[after] if after < len(times) else None
        for place in outliers:
            result[place] = _between(place, before, after, left, right)
    return [int(value) for value in result]


def _between(place: int, before: int, after: int, left: float | None, right: float | None) -> float:
    if left is None or right is None:
        found = right if left is None else left
        assert found is not None
        return found
    if after - before - 1 <= 2:
        return left if place - before <= after - place else right
    return left + (right - left) / (after - before) * (place - before)


def _longest_rising(times: list[float]) -> list[int]:
    """Places of a longest subsequence that does not fall; of several, the one that ends first, each time coming from
    the first place it can come from."""
    # By the length of the longest subsequence that ends there: places in order, whose times then fall strictly.
    levels: list[list[int]] = []
    falling: list[list[float]] = []
    # The lowest time of each level, which rises with it.
    lowest: list[float] = []
    came_from = []
    for place, time in enumerate(times):
        level = bisect.bisect_right(lowest, time)
        if level == len(levels):
            levels.append([])
            falling.append([])
            lowest.append(time)
        came_from.append(levels[level - 1][_first_at_most(falling[level - 1], time)] if level else -1)
        levels[level].append(place)
        falling[level].append(-time)
        lowest[level] = time
    place = levels[-1][0] if levels else -1
    found = []
    while place >= 0:
        found.append(place)
        place = came_from[place]
    return found[::-1]


def _first_at_most(falling: list[float], time: float) -> int:
    """falling: negated times of a level, in order. The first place in it whose time is no more than `time`."""
    return bisect.bisect_left(falling, -time)
