"""The nearest of many points, exactly, also in the ten or twenty dimensions in which a k-d tree visits most of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from impact.core.threads import alone

Array = np.ndarray

FLAT = 6
"""Up to so many dimensions a tree is fastest; beyond, whole boxes of points are measured at once by BLAS."""
BOX = 1024
"""Points in a box, at most."""
HOMES = 3
"""Boxes that each row looks into before any other."""
SPARE = 2
CELLS = 2**18
"""Distances that are worked on at a time: 1 MB, which stays in the processor's cache."""
CONFUSED = 1e-10
"""Distances that rounding may make this much too long are worked out again: a tenth of what counts as equal."""


def tree_of(points: Array) -> Any:
    """A k-d tree of points."""
    from scipy.spatial import cKDTree

    return cKDTree(points, balanced_tree=False)


@alone
def closest(points: Array, at: Array, k: int) -> tuple[Array, Array]:
    """For each row of ``at`` (n, q) its k nearest among ``points`` (m, q), m >= k: distances and positions, (n, k),
    in order of distance.

    The points are put into boxes. Squared distances |a|^2 + |b|^2 - 2a'b to the points of a box are one matrix
    product, and a box further away than the k nearest found so far is passed over. What rounding could have
    confused is asked of a tree, so that the answer is exact.
    """
    if points.shape[1] <= FLAT or len(points) < 8 * BOX or 4 * (k + SPARE) > BOX:
        gap, place = tree_of(points).query(at, k=np.arange(1, k + 1))
        return np.asarray(gap), np.asarray(place)
    gap, place, asked = np.empty((len(at), k)), np.empty((len(at), k), int), np.arange(len(at))
    boxes = _Boxes(points)
    for kind in (np.float32, np.float64):  # what the short numbers confuse the long ones may tell apart
        doubtful = []
        for start in range(0, len(asked), CELLS // 32):
            rows = asked[start : start + CELLS // 32]
            gap[rows], place[rows], confused = boxes.nearest(at[rows], k, kind)
            doubtful.append(rows[confused])
        asked = np.concatenate(doubtful)
        if not len(asked):
            return gap, place
    gap[asked], place[asked] = tree_of(points).query(at[asked], k=np.arange(1, k + 1))
    return gap, place


class _Boxes:
    """Points in boxes of a few hundred neighbours, one box after the other."""

    def __init__(self, points: Array) -> None:
        from scipy.spatial import cKDTree

        self.centre = points.mean(axis=0)
        moved = points - self.centre
        # Deep enough that boxes hold so many; their sides are then those of the points inside.
        tree = cKDTree(moved, leafsize=BOX, balanced_tree=False)
        self.order = np.asarray(tree.indices)
        self.starts = np.asarray(_leaves(tree.tree))
        self.ends = np.append(self.starts[1:], len(points))
        self.points = moved[self.order]
        self.low = np.minimum.reduceat(self.points, self.starts)
        self.high = np.maximum.reduceat(self.points, self.starts)
        self.square = (self.points**2).sum(axis=1)
        table = np.vstack([-2.0 * self.points.T, self.square])  # [a, 1] times this is |a - b|^2 - |a|^2
        self.tables: dict[Any, Array] = {kind: table.astype(kind) for kind in (np.float32, np.float64)}

    def nearest(self, at: Array, k: int, kind: type) -> tuple[Array, Array, Array]:
        """Distances and positions of the k nearest, and whose could be wrong for rounding."""
        at = at - self.centre
        square, away = (at**2).sum(axis=1), self.away(at)
        found = _Found(
            np.column_stack([at, np.ones(len(at))]).astype(kind),
            self.tables[kind],
            square,
            np.full((len(at), k + SPARE), np.inf),
            np.zeros((len(at), k + SPARE), np.int64),
            np.full(len(at), np.inf),
        )
        near = np.argpartition(away, HOMES, axis=1)[:, :HOMES]
        near = np.take_along_axis(near, np.argsort(np.take_along_axis(away, near, axis=1), axis=1), axis=1)
        for first in near.T:  # at home first: most are found there, and other boxes can be passed over
            order = np.argsort(first, kind="stable")
            for rows in np.split(order, np.flatnonzero(np.diff(first[order])) + 1):
                self.visit(int(first[rows[0]]), rows, found)
            away[np.arange(len(at)), first] = np.inf
        for box in range(len(self.starts)):
            rows = np.flatnonzero(away[:, box] < found.worst)
            step = max(CELLS // int(self.ends[box] - self.starts[box]), 1)
            for start in range(0, len(rows), step):
                self.visit(box, rows[start : start + step], found)
        place = found.place
        squares = np.zeros(place.shape)
        for j in range(at.shape[1]):
            squares += (at[:, [j]] - self.points[place, j]) ** 2
        ranked = np.argsort(squares, axis=1, kind="stable")[:, :k]
        squares = np.take_along_axis(squares, ranked, axis=1)
        gap = np.sqrt(squares)
        # Whoever was passed over is no nearer than the furthest of the best, but for rounding.
        rounding = 4 * (at.shape[1] + 2) * np.finfo(kind).eps * (square + self.square.max())
        doubtful = gap[:, -1] > np.sqrt(np.maximum(found.worst - rounding, 0.0)) + CONFUSED
        return gap, self.order[np.take_along_axis(place, ranked, axis=1)], doubtful

    def away(self, at: Array) -> Array:
        """(n, boxes): the squared distance to the nearest corner or side of each box, zero inside."""
        out = np.zeros((len(at), len(self.starts)))
        step = max(CELLS // 16 // len(self.starts), 1)
        above, below = np.empty((2, step, len(self.starts)))
        for start in range(0, len(at), step):
            part = out[start : start + step]
            a, b = above[: len(part)], below[: len(part)]
            for own, low, high in zip(at[start : start + step].T[:, :, None], self.low.T, self.high.T, strict=True):
                np.subtract(own, high, out=a)
                np.subtract(low, own, out=b)
                np.maximum(a, b, out=a)
                np.maximum(a, 0.0, out=a)
                a *= a
                part += a
        return out

    def visit(self, box: int, rows: Array, found: _Found) -> None:
        """Measure some rows against the points of a box, and keep what is nearer than the furthest of their best."""
        start, end = self.starts[box], self.ends[box]
        squares = found.at[rows] @ found.table[:, start:end]
        limit, fresh = found.worst[rows] - found.square[rows], np.isinf(found.worst[rows])
        many = found.best.shape[1]
        if fresh.any():
            last = min(many, end - start) - 1
            limit[fresh] = np.partition(squares[fresh], last, axis=1)[:, last]
        gains = squares.min(axis=1) <= limit
        rows, squares = rows[gains], squares[gains]
        who, column = np.nonzero(squares <= limit[gains, None])
        # Those of before and the new ones, by row and distance: the first of each row stay.
        value = np.concatenate([found.best[rows].ravel(), squares[who, column] + found.square[rows[who]]])
        where = np.concatenate([found.place[rows].ravel(), start + column])
        who = np.concatenate([np.repeat(np.arange(len(rows)), many), who])
        order = np.lexsort((value, who))
        top = order[np.searchsorted(who[order], np.arange(len(rows)))[:, None] + np.arange(many)]
        found.best[rows], found.place[rows] = value[top], where[top]
        found.worst[rows] = found.best[rows, -1]


class _Found(NamedTuple):
    """Rows [a, 1] and |a|^2, the table of the points, and the nearest so far: |a - b|^2, where, and the largest."""

    at: Array
    table: Array
    square: Array
    best: Array
    place: Array
    worst: Array


def _leaves(node: Any) -> list[int]:
    """Where the leaves of a tree start, in order."""
    found, waiting = [], [node]
    while waiting:
        node = waiting.pop()
        if node.split_dim < 0:
            found.append(int(node.start_idx))
        else:
            waiting += [node.greater, node.lesser]
    return sorted(found)
