"""Greedy nearest-neighbour matching on one number a row.

Among candidates that are equally near, the one above is taken, and of candidates with the same
number the one with the smallest ``tie`` if they lie above, the largest if below. With the rows'
positions as ``tie`` and no tolerance this is what MatchIt 4.7.2 does, so that pairs can be compared
with it one by one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

Array = np.ndarray

ORDERS = ("largest", "smallest", "closest", "data", "random")


class Conditions(NamedTuple):
    """What partners must be besides near: within ``reach`` (k,) on each column of ``near`` (n, k), and of
    different codes in each column of ``apart`` (n, m)."""

    near: Array
    reach: Array
    apart: Array

    def hold(self, i: Array, j: Array) -> Array:
        """Whether they hold for pairs of rows."""
        close = (np.abs(self.near[i] - self.near[j]) <= self.reach).all(axis=-1)
        return np.asarray(close & (self.apart[i] != self.apart[j]).all(axis=-1))

    def test(self) -> Callable[[int, int], bool]:
        """The same for one pair at a time, from lists: a Python loop reads single numbers faster from them."""
        near = [(column.tolist(), float(r)) for column, r in zip(self.near.T, self.reach, strict=True)]
        apart = [column.tolist() for column in self.apart.T]

        def holds(i: int, j: int) -> bool:
            return all(abs(c[i] - c[j]) <= r for c, r in near) and all(c[i] != c[j] for c in apart)

        return holds


def nearest(
    score: Array,
    focal: Array,
    pool: Array,
    *,
    ratio: int | Array = 1,
    caliper: float = np.inf,
    replace: bool = False,
    groups: Array | None = None,
    order: str = "largest",
    rng: object = None,
    tie: Array | None = None,
    tolerance: float = 0.0,
    conditions: Conditions | None = None,
) -> Array:
    """Pair each focal row with up to ``ratio`` rows of the pool.

    Every focal row is offered a first partner before any is offered a second, in ``order``:
    "largest" or "smallest" score first, "closest" pair first, as the rows stand ("data"), or at
    "random". Takes O(n log n) time and O(n) memory; ``conditions`` add the time of walking past
    those who do not meet them.

    Parameters
    ----------
    score : (n,) finite where focal or pool. focal, pool : (n,) bool, disjoint; other rows sit out.
    ratio : partners for each row, one number or (n,).
    caliper : the largest allowed gap, in units of the score.
    replace : whether a row of the pool may serve several focal rows (never one of them twice).
    groups : (n,) codes; partners must share the code.
    rng : for "random" only: (n,) numbers whose order is taken, a seed or a Generator.
    tie : (n,) numbers that decide between rows of the same score; positions, if left out.
    tolerance : gaps that differ by no more than this count as equal.

    Returns
    -------
    (m, 2) int : positions of focal row and partner, in the order in which they were paired.
    """
    if order not in ORDERS:
        raise ValueError(f"The order {order!r} was asked for. The orders are {', '.join(ORDERS)}.")
    codes = np.zeros(len(score), int) if groups is None else np.asarray(groups)
    if codes.dtype.kind not in "iu":
        codes = np.unique(codes, return_inverse=True)[1].ravel()
    rows = np.flatnonzero(pool)
    rows = rows[sort(score[rows], codes[rows], None if tie is None else tie[rows])]
    queue = line_up(np.flatnonzero(focal), score, order, rng, tie)
    low, high, at = _places(score, codes, rows, queue)
    wanted = np.broadcast_to(np.asarray(ratio), score.shape)[queue]
    if replace:
        return _with_replacement(score, rows, queue, (low, high, at), wanted, caliper, tolerance, conditions)
    shelf = _Shelf(score, rows, queue, (low, high, at), caliper, tolerance, conditions)
    pairs = rounds(shelf, wanted, tolerance, closest=order == "closest")
    return np.column_stack([queue[pairs[:, 0]], rows[pairs[:, 1]]])


def sort(score: Array, codes: Array, tie: Array | None) -> Array:
    """The order of rows by group, score, tie and position."""
    by_score = np.argsort(score)  # not stable, and several times faster than what is
    if (score[by_score[1:]] == score[by_score[:-1]]).any():
        by_score = np.lexsort([score] if tie is None else [tie, score])
    if not codes.any():
        return by_score
    small = codes.astype(np.int16) if 0 <= codes.min() and codes.max() < 2**15 else codes  # sorted by radix
    return by_score[np.argsort(small[by_score], kind="stable")]


def line_up(focal: Array, score: Array, order: str, rng: object, tie: Array | None) -> Array:
    """The focal rows in the order in which they choose; for "closest", in the order that decides between equals."""
    if order == "random":
        lot = rng[focal] if isinstance(rng, np.ndarray) else np.random.default_rng(rng).random(len(focal))  # type: ignore[arg-type]
        return focal[np.argsort(lot)]
    if order == "data":
        return focal
    first = () if tie is None else (tie[focal],)
    if order == "closest":
        return focal[np.lexsort(first)] if first else focal
    return focal[np.lexsort((*first, -score[focal] if order == "largest" else score[focal]))]


def _places(score: Array, codes: Array, rows: Array, queue: Array) -> tuple[Array, Array, Array]:
    """For each focal row: where its group starts and ends on the shelf, and the first score not below its own."""
    shelf, asked = codes[rows], codes[queue]
    low, high = (np.searchsorted(shelf, asked, side=side) for side in ("left", "right"))
    at = low.copy()
    for start in np.unique(low):
        mine = np.flatnonzero((low == start) & (high > start))
        if len(mine):
            end = high[mine[0]]
            at[mine] = start + np.searchsorted(score[rows[start:end]], score[queue[mine]], side="left")
    return low, high, at


# ---- who is free ------------------------------------------------------------------------------


class Searcher(Protocol):
    """What greedy matching asks of a pool: ``look`` finds the nearest partner that focal row i may have, as
    (gap, place), with place -1 for nobody; ``take`` removes a place."""

    def look(self, i: int) -> tuple[float, int]: ...
    def take(self, i: int, place: int) -> None: ...
    def free(self, place: int) -> bool: ...


class _Shelf:
    """The pool in order of score, with the next free place in either direction.

    Each direction is a union-find: a taken place points to a place further on, and every search
    shortens the way for the next.
    """

    def __init__(
        self,
        score: Array,
        rows: Array,
        queue: Array,
        places: tuple[Array, Array, Array],
        caliper: float,
        tolerance: float,
        conditions: Conditions | None,
    ) -> None:
        # No arrays: reading single numbers from them is what a Python loop would spend its time on.
        self.score: Any = memoryview(np.ascontiguousarray(score[rows], float))  # type: ignore[arg-type]
        self.asks = list(zip(score[queue].tolist(), *(p.tolist() for p in places), strict=True))
        self.up: dict[int, int] = {}  # of taken places only
        self.down: dict[int, int] = {}
        self.caliper, self.tolerance = caliper, tolerance
        self.meets = None if conditions is None else conditions.test()
        self.row = [] if conditions is None else rows.tolist()
        self.asker = [] if conditions is None else queue.tolist()

    def take(self, i: int, place: int) -> None:
        self.up[place] = place + 1
        self.down[place] = place - 1

    def free(self, place: int) -> bool:
        return place not in self.up

    def in_turn(self, waiting: list[int]) -> Iterator[tuple[int, int]]:
        """What asking and taking in turn finds where there are no conditions: the same, written out in one loop."""
        shelf, up, down, tolerance, caliper = self.score, self.up, self.down, self.tolerance, self.caliper
        inf = float("inf")
        for i in waiting:
            score, low, high, at = self.asks[i]
            above, below = at, at - 1
            if above in up:
                above = _follow(up, above)
            if below in down:
                below = _follow(down, below)
            gap_above = shelf[above] - score if above < high else inf
            gap_below = score - shelf[below] if below >= low else inf
            if gap_above <= gap_below + tolerance and above < high:
                gap, place = gap_above, above
            else:
                gap, place = gap_below, below
            if gap <= caliper and gap < inf:
                up[place], down[place] = place + 1, place - 1
                yield i, place

    def look(self, i: int) -> tuple[float, int]:
        score, low, high, at = self.asks[i]
        above, below = _follow(self.up, at), _follow(self.down, at - 1)
        while True:
            gap_above = self.score[above] - score if above < high else np.inf
            gap_below = score - self.score[below] if below >= low else np.inf
            up = gap_above <= gap_below + self.tolerance and above < high
            gap, place = (gap_above, above) if up else (gap_below, below)
            if gap > self.caliper or gap == np.inf:
                return np.inf, -1
            if self.meets is None or self.meets(self.asker[i], self.row[place]):
                return gap, place
            if up:
                above = _follow(self.up, above + 1)
            else:
                below = _follow(self.down, below - 1)


def _follow(way: dict[int, int], place: int) -> int:
    """The first free place from here on."""
    start = place
    while (ahead := way.get(place)) is not None:
        place = ahead
    while start != place:  # the next search goes straight there
        way[start], start = place, way[start]
    return place


# ---- who chooses when -------------------------------------------------------------------------


def rounds(searcher: Searcher, wanted: Array, tolerance: float, *, closest: bool) -> Array:
    """(m, 2) positions in the queue and places: everybody chooses once before anybody chooses again."""
    waiting, goal = list(range(len(wanted))), wanted.tolist()
    found: list[tuple[int, int]] = []
    for turn in range(1, int(wanted.max(initial=0)) + 1):
        asking = [i for i in waiting if goal[i] >= turn]
        new = list(_closest_first(searcher, asking, tolerance) if closest else _in_turn(searcher, asking))
        found += new
        # What is free only shrinks, so a row that found nobody now will find nobody later.
        served = {i for i, _ in new}
        waiting = [i for i in asking if i in served]
    return np.asarray(found, int).reshape(-1, 2)


def _in_turn(searcher: Searcher, waiting: list[int]) -> Iterator[tuple[int, int]]:
    if isinstance(searcher, _Shelf) and searcher.meets is None:
        yield from searcher.in_turn(waiting)
        return
    for i in waiting:
        _, place = searcher.look(i)
        if place >= 0:
            searcher.take(i, place)
            yield i, place


def _closest_first(searcher: Searcher, waiting: list[int], tolerance: float) -> Iterator[tuple[int, int]]:
    """The closest pair first; of equally close ones the first in line, and ahead of it whoever asks again."""

    def size(gap: float) -> float:
        return gap if not tolerance or gap == np.inf else round(gap / tolerance)

    asked = 0
    first = [searcher.look(i) for i in waiting]
    heap = [(size(gap), rank, i, place) for rank, (i, (gap, place)) in enumerate(zip(waiting, first, strict=True))]
    heapq.heapify(heap)
    while heap:
        gap, rank, i, place = heapq.heappop(heap)
        if place < 0:
            break
        if searcher.free(place):
            searcher.take(i, place)
            yield i, place
        else:
            asked += 1
            gap, place = searcher.look(i)
            heapq.heappush(heap, (size(gap), rank if tolerance else -asked, i, place))


def _with_replacement(
    score: Array,
    rows: Array,
    queue: Array,
    places: tuple[Array, Array, Array],
    wanted: Array,
    caliper: float,
    tolerance: float,
    conditions: Conditions | None,
) -> Array:
    """Each focal row walks outwards from its own score; no row waits for another."""
    low, high, at = places
    below, above, left = at - 1, at.copy(), wanted.copy()
    shelf = np.append(score[rows], np.nan)
    found, walking = [np.empty((0, 2), int)], np.arange(len(queue))
    while len(walking := walking[left[walking] > 0]):
        a, b, own = above[walking], below[walking], score[queue[walking]]
        gap_above = np.where(a < high[walking], shelf[a] - own, np.inf)
        gap_below = np.where(b >= low[walking], own - shelf[b], np.inf)
        up = gap_above <= gap_below + tolerance
        gap = np.where(up, gap_above, gap_below)
        there = np.isfinite(gap) & (gap <= caliper)
        walking, up, place = walking[there], up[there], np.where(up, a, b)[there]
        above[walking] += up
        below[walking] -= ~up
        pairs = np.column_stack([queue[walking], rows[place]])
        meets = np.ones(len(pairs), bool) if conditions is None else conditions.hold(*pairs.T)
        left[walking] -= meets
        found.append(pairs[meets])
    return np.concatenate(found)
