"""Greedy nearest-neighbour matching in several dimensions, on a k-d tree."""

from __future__ import annotations

from bisect import bisect_left
from functools import cached_property
from typing import Any

import numpy as np

from impact.core.closest import closest, tree_of
from impact.core.neighbours import Conditions, line_up, rounds

Array = np.ndarray

SPARE = 3
"""Cells that a focal row looks up beyond those it wants; twice as many each time that these do not suffice."""


def nearest(
    points: Array,
    focal: Array,
    pool: Array,
    *,
    ratio: int | Array = 1,
    replace: bool = False,
    groups: Array | None = None,
    order: str = "closest",
    score: Array | None = None,
    rng: object = None,
    tie: Array | None = None,
    tolerance: float = 1e-9,
    conditions: Conditions | None = None,
) -> Array:
    """Pair each focal row with up to ``ratio`` rows of the pool, nearest in Euclidean distance.

    As :func:`impact.core.neighbours.nearest`, with points (n, q) in place of scores. Rows that no
    condition and no coordinate tells apart are one cell of the tree, so that heavy ties cost nothing.
    Of cells that are equally near, up to ``tolerance``, the row with the smallest ``tie`` is taken.

    Without ``tie`` the rule is MatchIt's: of equal rows the last if they lie above the focal row on
    the first coordinate, the first if below. ``score`` is what "largest" and "smallest" go by.
    """
    codes = np.zeros(len(points), int) if groups is None else np.unique(groups, return_inverse=True)[1].ravel()
    queue = line_up(np.flatnonzero(focal), np.zeros(len(points)) if score is None else score, order, rng, tie)
    wanted = np.broadcast_to(np.asarray(ratio), len(points))
    found = [np.empty((0, 2), int)]
    for group in np.unique(codes[queue]):
        mine, rows = queue[codes[queue] == group], np.flatnonzero(pool & (codes == group))
        if len(rows):
            cells = _Cells(points, mine, rows, int(wanted[mine].max()), tie, tolerance, conditions, replace)
            pairs, left = cells.plain(wanted[mine])
            found.append(np.column_stack([mine[pairs[:, 0]], pairs[:, 1]]))
            if left.any():
                goal = np.where(left, wanted[mine], 0)
                pairs = rounds(cells, goal, 0.0 if tie is None else tolerance, closest=order == "closest")
                found.append(np.column_stack([mine[pairs[:, 0]], pairs[:, 1]]))
    return np.concatenate(found)


class _Cells:
    """The pool by cells of equal rows, each with its free rows in order; places are rows."""

    def __init__(
        self,
        points: Array,
        queue: Array,
        rows: Array,
        most: int,
        tie: Array | None,
        tolerance: float,
        conditions: Conditions | None,
        replace: bool,
    ) -> None:
        self.points, self.queue, self.tolerance = points, queue, tolerance
        self.matchit = tie is None
        self.tie = np.arange(len(points)) if tie is None else tie
        self.place = np.argsort(np.argsort(points[:, 0], kind="stable")) if self.matchit else np.empty(0, int)
        self.meets = None if conditions is None else conditions.test()
        self.replace = replace
        # One more than wanted shows whether the last has equals; others look further, past the taken and the unfit.
        self.first = most + (1 if replace and conditions is None else SPARE)
        rows = rows[np.argsort(self.tie[rows], kind="stable")]
        if conditions is None:
            told = [points[rows]]
        else:
            told = [points[rows], conditions.near[rows], conditions.apart[rows]]
        cell = equal_rows(np.column_stack(told))
        by_cell = np.argsort(cell, kind="stable")
        self.cell, self.rows = cell[by_cell], rows[by_cell]
        self.starts = np.flatnonzero(np.diff(self.cell, prepend=-1))
        self.heads = self.rows[self.starts]
        self.gone: set[int] = set()
        self.empty = 0
        self.mine: list[set[int]] = [set() for _ in queue]
        self.nodes = np.arange(len(self.heads))
        self.tree: Any = None
        self.planted = 0
        self.start = [0] * len(queue)
        self.asked = closest(points[self.heads], points[queue], min(self.first, len(self.heads)))

    def plain(self, wanted: Array) -> tuple[Array, Array]:
        """The pairs of those who, with replacement, have nothing to decide: the nearest cells are one row each, and
        no two are equally near. And who is left."""
        gaps, nodes = self.asked
        most = int(wanted.max())
        if not self.replace or self.matchit or self.meets is not None or gaps.shape[1] <= most:
            return np.empty((0, 2), int), np.ones(len(wanted), bool)
        alone = np.diff(self.starts, append=len(self.rows)) == 1
        clear = (np.diff(gaps[:, : most + 1]) > self.tolerance) & alone[nodes[:, :most]]
        asks = np.arange(most) < wanted[:, None]
        sure = (clear | ~asks).all(axis=1)
        turn, who = np.nonzero((asks & sure[:, None]).T)
        return np.column_stack([who, self.heads[nodes[who, turn]]]), ~sure

    @cached_property
    def members(self) -> list[list[int]]:
        """The free rows of each cell, in order."""
        rows, ends = self.rows.tolist(), [*self.starts[1:].tolist(), len(self.rows)]
        return [rows[start:end] for start, end in zip(self.starts.tolist(), ends, strict=True)]

    @cached_property
    def of_row(self) -> dict[int, int]:
        return dict(zip(self.rows.tolist(), self.cell.tolist(), strict=True))

    @cached_property
    def seen(self) -> list[Any]:
        """For each focal row the cells it has looked up: distances, cells, and in which tree."""
        gaps, nodes = self.asked
        return list(zip(gaps.tolist(), nodes.tolist(), [self.planted] * len(gaps), strict=True))

    def plant(self) -> None:
        self.tree = tree_of(self.points[self.heads[self.nodes]])
        self.planted += 1

    def ask(self, at: Array, k: int) -> tuple[list[list[float]], list[list[int]]]:
        """The k nearest cells: distances and cells, in order of distance."""
        if self.tree is None:
            self.tree = tree_of(self.points[self.heads])
        k = min(k, len(self.nodes))
        gap, node = self.tree.query(at, k=np.arange(1, k + 1))
        return gap.tolist(), self.nodes[node].tolist()

    def further(self, i: int) -> bool:
        """Look up more cells for one focal row; False when there are no more."""
        gaps, _, planted = self.seen[i]
        if not self.replace and 2 * self.empty > len(self.nodes):
            self.nodes = np.array([c for c in self.nodes if self.members[c]], int)
            self.empty = 0
            if len(self.nodes):
                self.plant()
        fresh = planted != self.planted
        if not len(self.nodes) or (not fresh and len(gaps) >= len(self.nodes)):
            return False
        (more,), (cells,) = self.ask(self.points[self.queue[[i]]], self.first if fresh else 2 * len(gaps))
        # Whatever was nearer than here is gone; of equally near cells the tree may change the order.
        self.start[i] = bisect_left(more, gaps[min(self.start[i], len(gaps) - 1)] - self.tolerance)
        self.seen[i] = more, cells, self.planted
        return True

    def look(self, i: int) -> tuple[float, int]:
        asker, mine = int(self.queue[i]), self.mine[i]
        while True:
            best, nearest = -1, np.inf
            gaps, cells, _ = self.seen[i]
            for at in range(self.start[i], len(gaps)):
                if gaps[at] > nearest + self.tolerance:
                    return self.gap(asker, best, nearest), best
                row = self.choose(asker, cells[at], mine)
                if row < 0:
                    continue
                if best < 0:  # nobody nearer will be free again: the next search starts here
                    best, nearest, self.start[i] = row, gaps[at], at
                elif self.rank(asker, row) < self.rank(asker, best):
                    best = row
            if best < 0:
                self.start[i] = len(gaps)
            if not self.further(i):
                return self.gap(asker, best, nearest), best

    def rank(self, asker: int, row: int) -> tuple[float, ...]:
        """What decides between rows that are equally near: the smallest goes first."""
        if not self.matchit:
            return (self.tie[row],)
        # MatchIt walks along the first coordinate, left, right, left, and keeps the last of equals that it met.
        steps = int(self.place[row] - self.place[asker])
        return (self.square(asker, row), -abs(steps), -steps)

    def gap(self, asker: int, row: int, nearest: float) -> float:
        return self.square(asker, row) if self.matchit and row >= 0 else nearest

    def square(self, i: int, j: int) -> float:
        """The squared distance, summed from the first coordinate to the last: rounding decides between equals."""
        return float(sum(d * d for d in (self.points[i] - self.points[j]).tolist()))

    def choose(self, asker: int, cell: int, mine: set[int]) -> int:
        """The row of a cell that a focal row would take, or -1."""
        members = self.members[cell]
        if not members or self.meets is not None and not self.meets(asker, members[0]):
            return -1
        if self.matchit and self.place[members[0]] > self.place[asker]:
            return next((m for m in reversed(members) if m not in mine), -1)
        return next((m for m in members if m not in mine), -1)

    def take(self, i: int, place: int) -> None:
        if self.replace:
            self.mine[i].add(place)
            return
        members = self.members[self.of_row[place]]
        members.remove(place)
        self.gone.add(place)
        self.empty += not members

    def free(self, place: int) -> bool:
        return place not in self.gone


def equal_rows(x: Array) -> Array:
    """Codes that rows share when they are equal."""
    plain = np.ascontiguousarray(x + 0.0)  # there is one zero
    whole = plain.view(np.dtype((np.void, plain.dtype.itemsize * plain.shape[1]))).ravel()
    return np.unique(whole, return_inverse=True)[1].ravel()
