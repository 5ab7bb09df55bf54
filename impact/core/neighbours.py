"""Greedy nearest-neighbour matching on one number a row.

Ties follow MatchIt 4.7.2, so that pairs can be compared with it one by one: the candidates are
sorted by (score, row); of those strictly below, the nearest free one is the last of its ties; of
those at or above, the first. When the two are equally far, the one above is taken.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

Array = np.ndarray

ORDERS = ("largest", "smallest", "closest", "data", "random")


def nearest(
    score: Array,
    focal: Array,
    pool: Array,
    *,
    ratio: int = 1,
    caliper: float = np.inf,
    replace: bool = False,
    groups: Array | None = None,
    order: str = "largest",
    rng: object = None,
) -> Array:
    """Pair each focal row with up to ``ratio`` rows of the pool.

    Every focal row is offered a first partner before any is offered a second, in ``order``:
    "largest" or "smallest" score first, "closest" pair first, as the rows stand ("data"), or at
    "random". Takes O(n log n) time and O(n) memory.

    Parameters
    ----------
    score : (n,) finite where focal or pool. focal, pool : (n,) bool, disjoint; other rows sit out.
    caliper : the largest allowed gap, in units of the score.
    replace : whether a row of the pool may serve several focal rows (never one of them twice).
    groups : (n,) codes; partners must share the code.
    rng : seed or Generator, for "random" only.

    Returns
    -------
    (m, 2) int : positions of focal row and partner, in the order in which they were paired.
    """
    if order not in ORDERS:
        raise ValueError(f"The order {order!r} was asked for. The orders are {', '.join(ORDERS)}.")
    codes = np.zeros(len(score), int) if groups is None else np.unique(groups, return_inverse=True)[1].ravel()
    rows = np.flatnonzero(pool)
    rows = rows[np.lexsort((rows, score[rows], codes[rows]))]
    queue = _queue(score, np.flatnonzero(focal), order, rng)
    low, high, at = _places(score, codes, rows, queue)
    if replace:
        return _with_replacement(score, rows, queue, low, high, at, ratio, caliper)
    shelf = _Shelf(score[rows])
    offer = _closest_first if order == "closest" else _in_turn
    # Plain lists: reading single numbers from an array is what a Python loop would spend its time on.
    asks = list(zip(score[queue].tolist(), low.tolist(), high.tolist(), at.tolist(), strict=True))
    waiting = list(range(len(queue)))
    found: list[tuple[int, int]] = []
    for _ in range(ratio):
        new = offer(waiting, lambda i: shelf.look(*asks[i]), shelf, caliper)
        found += new
        # What is free only shrinks, so a row that found nobody now will find nobody later.
        served = {i for i, _ in new}
        waiting = [i for i in waiting if i in served]
    if not found:
        return np.empty((0, 2), int)
    i, j = np.asarray(found).T
    return np.column_stack([queue[i], rows[j]])


def _queue(score: Array, focal: Array, order: str, rng: object) -> Array:
    if order == "largest":
        return focal[np.argsort(-score[focal], kind="stable")]
    if order == "smallest":
        return focal[np.argsort(score[focal], kind="stable")]
    if order == "random":
        return np.random.default_rng(rng).permutation(focal)  # type: ignore[arg-type]
    return focal


def _places(score: Array, codes: Array, rows: Array, queue: Array) -> tuple[Array, Array, Array]:
    """For each focal row: where its group starts and ends on the shelf, and the first score not below its own."""
    low = np.searchsorted(codes[rows], codes[queue], side="left")
    high = np.searchsorted(codes[rows], codes[queue], side="right")
    at = low.copy()
    for start, end in np.unique(np.column_stack([low, high]), axis=0):
        mine = (low == start) & (high == end)
        at[mine] = start + np.searchsorted(score[rows[start:end]], score[queue[mine]], side="left")
    return low, high, at


class _Shelf:
    """The pool in order of score, with the next free place in either direction.

    Each direction is a union-find: a taken place points to a place further on, and every search
    shortens the way for the next.
    """

    def __init__(self, score: Array) -> None:
        self.score = score.tolist()
        n = len(self.score)
        self.up = list(range(n + 1))  # n: nobody further up
        self.down = list(range(n + 1))  # shifted by one; 0: nobody further down

    def take(self, j: int) -> None:
        self.up[j] = j + 1
        self.down[j + 1] = j

    def look(self, score: float, low: int, high: int, at: int) -> tuple[float, int]:
        """(gap, place) of the nearest free place in [low, high), or (inf, -1)."""
        above, below = _follow(self.up, at), _follow(self.down, at) - 1
        gap_above = self.score[above] - score if above < high else np.inf
        gap_below = score - self.score[below] if below >= low else np.inf
        if gap_above <= gap_below:
            return (gap_above, above) if above < high else (np.inf, -1)
        return gap_below, below


def _follow(way: list[int], j: int) -> int:
    while way[j] != j:
        way[j] = way[way[j]]
        j = way[j]
    return j


Look = Callable[[int], tuple[float, int]]


def _in_turn(waiting: list[int], look: Look, shelf: _Shelf, caliper: float) -> list[tuple[int, int]]:
    found = []
    for i in waiting:
        gap, j = look(i)
        if j >= 0 and gap <= caliper:
            shelf.take(j)
            found.append((i, j))
    return found


def _closest_first(waiting: list[int], look: Look, shelf: _Shelf, caliper: float) -> list[tuple[int, int]]:
    """The closest pair first. A row whose partner was taken asks again, ahead of its equals."""
    found, asked = [], 0
    heap = [(*look(i), rank, i) for rank, i in enumerate(waiting)]
    heap = [(gap, rank, i, j) for gap, j, rank, i in heap]
    heapq.heapify(heap)
    while heap:
        gap, _, i, j = heapq.heappop(heap)
        if j < 0 or gap > caliper:
            break
        if shelf.up[j] == j:
            shelf.take(j)
            found.append((i, j))
        else:
            asked += 1
            gap, j = look(i)
            heapq.heappush(heap, (gap, -asked, i, j))
    return found


def _with_replacement(
    score: Array, rows: Array, queue: Array, low: Array, high: Array, at: Array, ratio: int, caliper: float
) -> Array:
    """Each focal row walks outwards from its own score; no row waits for another."""
    below, above = at - 1, at.copy()
    shelf = np.append(score[rows], np.nan)
    found = []
    for _ in range(ratio):
        gap_above = np.where(above < high, shelf[np.minimum(above, len(rows))] - score[queue], np.inf)
        gap_below = np.where(below >= low, score[queue] - shelf[below], np.inf)
        up = gap_above <= gap_below
        reached = np.minimum(gap_above, gap_below)
        ok = np.isfinite(reached) & (reached <= caliper)
        found.append(np.column_stack([queue[ok], rows[np.where(up, above, below)[ok]]]))
        above, below = above + up, below - ~up
    return np.concatenate(found)
