"""How trends may diverge after adoption, given how they did before: sets ``A delta <= d`` of differences in trends.

delta (K + T,) has the K periods before the reference period, in which it is zero, and the T periods after.
``steps`` are its first differences, ``bends`` its second differences. A period after the reference takes part in every
row that is kept: rows on earlier periods alone say nothing on the effect.

References: rambachan2023.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

Array = np.ndarray


def steps(before: int, after: int) -> Array:
    """(K + T, K + T): changes from each period to the next, over the reference period."""
    every = np.diff(np.eye(before + after + 1), axis=0)
    return np.delete(every, before, axis=1)


def bends(before: int, after: int) -> Array:
    """(K + T - 1, K + T): changes of these changes."""
    return np.diff(steps(before, after), axis=0)


def smooth(before: int, after: int, most: float, shape: str = "") -> Iterator[tuple[Array, Array]]:
    """The slope changes by at most ``most`` from one period to the next."""
    late = bends(before, after)[before - 1 :]
    yield _shaped(np.vstack([late, -late]), np.full(2 * after, float(most)), before, after, shape)


def relative(before: int, after: int, most: float, shape: str = "") -> Iterator[tuple[Array, Array]]:
    """Changes are at most ``most`` times the largest before: a set for each that may be the largest, and its sign."""
    every = steps(before, after)
    yield from _relative(every[:before], every[before:], most, before, after, shape)


def relative_smooth(before: int, after: int, most: float, shape: str = "") -> Iterator[tuple[Array, Array]]:
    """Changes of slope are at most ``most`` times the largest before."""
    every = bends(before, after)
    yield from _relative(every[: before - 1], every[before - 1 :], most, before, after, shape)


def _relative(
    early: Array, late: Array, most: float, before: int, after: int, shape: str
) -> Iterator[tuple[Array, Array]]:
    for largest in (*early, *-early):
        bound = most * largest
        yield _shaped(np.vstack([late - bound, -late - bound]), np.zeros(2 * after), before, after, shape)


def _shaped(rows: Array, bound: Array, before: int, after: int, shape: str) -> tuple[Array, Array]:
    """With the sign or the direction of the divergence after the reference period, where it is known."""
    level, change = np.eye(before + after)[before:], steps(before, after)[before:]
    more = {"positive": -level, "negative": level, "increasing": -change, "decreasing": change}.get(shape)
    if more is None:
        return rows, bound
    return np.vstack([rows, more]), np.concatenate([bound, np.zeros(after)])
