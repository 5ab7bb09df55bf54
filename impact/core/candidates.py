"""Pairs of rows that may be partners, a million at a time: memory grows with the rows and not with their pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

Array = np.ndarray
Pairs = tuple[Array, Array]

CHUNK = 1_000_000
"""Pairs looked at together: some 100 MB."""


def within(x: Array, y: Array, reach: float) -> Iterator[Pairs]:
    """All (i, j) with |x_i - y_j| within ``reach``, or a rounding error beyond it, about ``CHUNK`` at a time.

    Rows i come one after another, and none is split over two parts.
    """
    order = np.argsort(y, kind="stable")
    shelf, reach = y[order], reach * (1 + 1e-12)
    slack = 4 * np.finfo(float).eps * np.abs(x)
    first = np.searchsorted(shelf, x - reach - slack, side="left")
    last = np.searchsorted(shelf, x + reach + slack, side="right")
    passed = np.concatenate([[0], np.cumsum(last - first)])
    start = 0
    while start < len(x):
        most = passed[start] + CHUNK
        stop = max(start + 1, int(np.searchsorted(passed, most, side="right")) - 1)
        count = (last - first)[start:stop]
        place = np.arange(count.sum()) + np.repeat(first[start:stop] - (passed[start:stop] - passed[start]), count)
        yield np.repeat(np.arange(start, stop), count), order[place]
        start = stop


def paying(
    parts: Callable[[], Iterator[tuple[Array, Array, Array]]], shape: tuple[int, int]
) -> tuple[Array, Array, Array]:
    """The pairs that a cover of least distance could need, of all that ``parts`` goes through as (i, j, distance).

    With m the distance to the nearest of the other side, those with d_ij < m_i + m_j, and one nearest of each row
    and each column. ``parts`` is gone through twice: once for m, once for the pairs.
    """
    near_i, near_j = np.full(shape[0], np.inf), np.full(shape[1], np.inf)
    for i, j, d in parts():
        np.minimum.at(near_i, i, d)
        np.minimum.at(near_j, j, d)
    asks_i, asks_j = np.ones(shape[0], bool), np.ones(shape[1], bool)
    kept = []
    for i, j, d in parts():
        pays = d < near_i[i] + near_j[j]
        pays[_first(i, (d == near_i[i]) & asks_i[i], asks_i)] = True
        pays[_first(j, (d == near_j[j]) & asks_j[j], asks_j)] = True
        kept.append((i[pays], j[pays], d[pays]))
    if not kept:
        return np.empty(0, int), np.empty(0, int), np.empty(0)
    i, j, d = (np.concatenate(part) for part in zip(*kept, strict=True))
    return i, j, d


def _first(row: Array, nearest: Array, asks: Array) -> Array:
    """Of the pairs that are a row's nearest, the first for each row that still asks for one; it then has."""
    at = np.flatnonzero(nearest)
    rows, first = np.unique(row[at], return_index=True)
    asks[rows] = False
    return at[first]
