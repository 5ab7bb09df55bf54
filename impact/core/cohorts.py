"""Units sorted by the time of their first treatment, so that who is compared with whom is a few runs of rows.

Rows are in coordinates in which nothing is large, and so laid out that what is worked on together lies together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from impact.core.linear import coordinates
from impact.core.threads import alone

Array = np.ndarray

BLOCK = 8192
"""Rows worked on at a time: what is made of so many stays in the processor's cache."""
EVERY = (8, 16)
"""Newton's method starts on every 8th row, and there on every 16th of these, where rows are many."""
ENOUGH = 5_000


class Comparison(NamedTuple):
    """A group and the groups it is compared with, as runs of positions among the groups."""

    mine: slice
    others: tuple[slice, ...]

    @property
    def runs(self) -> tuple[slice, ...]:
        """The group and those it is compared with."""
        return (self.mine, *self.others)


class Sums(NamedTuple):
    """Sums over each group's rows: (G,) weights, (G, k, k) of w z z', (G, k, T) of w z y'."""

    weight: Array
    gram: Array
    cross: Array


class Part(NamedTuple):
    """Some rows sorted by group: (k, m) columns, (m,) weights, and where each group begins and the last one ends."""

    z: Array
    w: Array
    bounds: Array

    def run(self, groups: slice) -> slice:
        """The rows of a run of groups."""
        return slice(int(self.bounds[groups.start]), int(self.bounds[groups.stop]))

    def weight(self, groups: tuple[slice, ...]) -> float:
        """The sum of weights."""
        return sum(float(self.w[self.run(g)].sum()) for g in groups)

    def count(self, groups: tuple[slice, ...]) -> int:
        """How many rows have weight."""
        return sum(int((self.w[self.run(g)] > 0).sum()) for g in groups)

    def thin(self, every: int) -> Part:
        """Every so many rows of each group."""
        place = [np.arange(a, b, every) for a, b in zip(self.bounds, self.bounds[1:], strict=False)]
        rows = np.concatenate(place)
        bounds = np.cumsum([0, *map(len, place)])
        return Part(np.ascontiguousarray(self.z[:, rows]), self.w[rows], bounds)


class Rows:
    """The units with weight, sorted by group, in coordinates in which nothing is large.

    Parameters
    ----------
    y : (n, T) outcomes; NaN where a unit is not seen, and must get no weight.
    x : (n, p) columns without intercept. w : (n,) weights. group : (n,) when treated, infinite for never, minus
        infinity for those who are left out.

    ``order`` (m,) are the positions of the sorted rows; ``part.z`` (k, m) and ``y`` (T, m) have a row in each column.
    """

    @alone
    def __init__(self, y: Array, x: Array, w: Array, group: Array) -> None:
        used = np.flatnonzero((w > 0) & (group > -np.inf))
        self.order = used[np.argsort(group[used], kind="stable")]
        self.groups, first = np.unique(group[self.order], return_index=True)
        mass = np.asarray(w, float)[self.order]
        where = coordinates(x[self.order], mass) if x.shape[1] else None
        z = np.ones((1, len(self.order))) if where is None else np.ascontiguousarray(where.of(x[self.order]).T)
        self.part = Part(z, mass, np.append(first, len(self.order)))
        self.thinner = self._thinner()
        # Changes are all that counts, so each unit's first value is taken off: the level costs no digits.
        self.y = np.ascontiguousarray(y[self.order].T, dtype=float)
        self.seen = None if np.isfinite(self.y.sum()) else ~np.isnan(self.y)
        start = self.y[0].copy()
        if self.seen is not None:
            for later in self.y[1:]:
                start = np.where(np.isnan(start), later, start)
        self.y -= start
        if self.seen is not None:
            self.y[~self.seen] = 0.0

    def _thinner(self) -> tuple[Part, ...]:
        """Ever fewer rows for Newton's method to start on, the fewest first."""
        found: list[Part] = []
        part = self.part
        for every in EVERY:
            if len(part.w) >= every * ENOUGH:
                part = part.thin(every)
                found.insert(0, part)
        return tuple(found)

    @alone
    def weigh(self, w: Array, which: Comparison | None = None) -> Sums:
        """The sums that regressions need, with these weights (m,) of the sorted rows; of one comparison, or of all."""
        z, k, t, count = self.part.z, len(self.part.z), len(self.y), len(self.groups)
        sums = Sums(np.zeros(count), np.zeros((count, k, k)), np.zeros((count, k, t)))
        for g in (g for run in ((slice(0, count),) if which is None else which.runs) for g in range(count)[run]):
            for rows in blocks(self.part.run(slice(g, g + 1))):
                pulled = z[:, rows] * w[rows]
                sums.gram[g] += pulled @ z[:, rows].T
                sums.cross[g] += pulled @ self.y[:, rows].T
            sums.weight[g] = sums.gram[g, 0, 0]
        return sums

    def compare(self, group: float, cutoff: float) -> Comparison:
        """A group against all treated after the cutoff."""
        g, after = int(np.searchsorted(self.groups, group)), int(np.searchsorted(self.groups, cutoff, side="right"))
        runs = [slice(after, g), slice(max(after, g + 1), len(self.groups))]
        return Comparison(slice(g, g + 1), tuple(run for run in runs if run.start < run.stop))


def blocks(rows: slice) -> Iterator[slice]:
    """So many rows at a time."""
    return (slice(a, min(a + BLOCK, rows.stop)) for a in range(rows.start, rows.stop, BLOCK))
