"""Many differences in differences on the same units at once: one for each group treated at a time and each period.

The estimators are those of ``doubly_robust`` for the effect on the treated, and every number here is one that
``doubly_robust.levels`` gives on the rows of one comparison. What is shared between comparisons is computed once:

* Rows are sorted by group, so that a comparison is a few slices and copies nothing.
* Regressions among comparison units need the sums of z z' and z y' over them, which are sums over groups.
* One model of who is treated serves all effects of a group with the same comparison units.
* Scores are linear in what is known of a row, so they are one matrix product for a block of rows.

A comparison that this cannot do safely (covariates that are collinear, or nearly, or tell the groups apart) gets None,
and is left to the careful functions that say in words what is wrong.

References: callaway2021, santanna2020.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from impact.core.linear import coordinates, root_of
from impact.core.threads import alone

Array = np.ndarray

BLOCK = 8192
"""Rows worked on at a time: what is made of so many stays in the processor's cache."""
SETTLED = 1e-8
"""Newton's method stops at a step of this size, which is then taken to first order: what is left is its square."""
STEPS = 15
FAR = 30.0
"""Beyond this logit nobody is compared with anybody: the careful functions look at such data."""


class Comparison(NamedTuple):
    """A group and the units it is compared with, as slices of the sorted rows."""

    mine: slice
    others: tuple[slice, ...]


class Sums(NamedTuple):
    """Sums over each group's rows: (G,) weights, (G, k, k) of w z z', (G, k, T) of w z y'."""

    weight: Array
    gram: Array
    cross: Array


class Rows:
    """The units with weight, sorted by group, in coordinates in which nothing is large.

    Parameters
    ----------
    y : (n, T) outcomes; NaN where a unit is not seen (its weight must then be zero in ``weigh``).
    x : (n, p) columns without intercept. w : (n,) weights. group : (n,) when treated, infinite for never.

    ``order`` (m,) are the positions of the sorted rows; ``z`` (k, m) and ``y`` (T, m) have a row each in a column.
    """

    @alone
    def __init__(self, y: Array, x: Array, w: Array, group: Array) -> None:
        used = np.flatnonzero((w > 0) & (group > -np.inf))
        self.order = used[np.argsort(group[used], kind="stable")]
        sorted_group = group[self.order]
        self.groups, first = np.unique(sorted_group, return_index=True)
        self.bounds = np.append(first, len(self.order))
        self.w = np.asarray(w, float)[self.order]
        where = coordinates(x[self.order], self.w) if x.shape[1] else None
        self.z = np.ones((1 if where is None else 1 + len(where.kept), len(self.order)))
        if where is not None:
            self.z[:] = where.of(x[self.order]).T
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

    @alone
    def weigh(self, w: Array, which: Comparison | None = None) -> Sums:
        """The sums that regressions need, with these weights (m,) of the sorted rows; of one comparison, or of all."""
        k, t, count = len(self.z), len(self.y), len(self.groups)
        sums = Sums(np.zeros(count), np.zeros((count, k, k)), np.zeros((count, k, t)))
        pieces = (slice(0, int(self.bounds[-1])),) if which is None else (which.mine, *which.others)
        for g in (g for piece in pieces for g in range(count)[self.inside(piece)]):
            for rows in _blocks(slice(int(self.bounds[g]), int(self.bounds[g + 1]))):
                pulled = self.z[:, rows] * w[rows]
                sums.gram[g] += pulled @ self.z[:, rows].T
                sums.cross[g] += pulled @ self.y[:, rows].T
            sums.weight[g] = sums.gram[g, 0, 0]
        return sums

    def compare(self, group: float, cutoff: float) -> Comparison:
        """A group against all treated after the cutoff."""
        g, after = int(np.searchsorted(self.groups, group)), int(np.searchsorted(self.groups, cutoff, side="right"))
        mine = slice(int(self.bounds[g]), int(self.bounds[g + 1]))
        if g < after:
            others = [slice(int(self.bounds[after]), int(self.bounds[-1]))]
        else:
            others = [slice(int(self.bounds[after]), mine.start), slice(mine.stop, int(self.bounds[-1]))]
        return Comparison(mine, tuple(s for s in others if s.start < s.stop))

    def inside(self, rows: slice) -> slice:
        """Which groups a slice of rows is."""
        return slice(*np.searchsorted(self.bounds, (rows.start, rows.stop)).tolist())


def _blocks(rows: slice) -> Iterator[slice]:
    return (slice(a, min(a + BLOCK, rows.stop)) for a in range(rows.start, rows.stop, BLOCK))


class Chance(NamedTuple):
    """A model of who is treated: coefficients, the triangle of the information, and the last step not taken.

    ``odds`` (c,) of the comparison rows in the order of the slices; ``square`` (k, k) and ``cross`` (k, T) are sums
    over them of w odds z z' and of w odds z y'.
    """

    coefficients: Array
    root: Array
    step: Array
    odds: list[Array]
    square: Array
    cross: Array


@alone
def effects(
    rows: Rows, which: Comparison, at: Array, base: Array, method: str, w: Array, sums: Sums, out: Array, columns: Array
) -> Array | None:
    """The effects on one group at the periods ``at`` (K,), each from its ``base`` period, against the same units.

    Returns the (K,) values, or None where the careful functions must look; writes the scores into ``out`` (n, C),
    rows in the order of the sample, at ``columns`` (K,).
    """
    k = len(rows.z)
    method = "reg" if k == 1 else method
    group = rows.inside(which.mine).start
    among = [g for s in which.others for g in range(len(rows.groups))[rows.inside(s)]]
    mass = float(sums.weight[group])
    if not (mass > 0 and sums.weight[among].sum() > 0):
        return None
    mean_z = sums.gram[group][0] / mass
    change = (sums.cross[group][0, at] - sums.cross[group][0, base]) / mass
    beta = np.zeros((k, len(at)))
    solve = np.zeros((k, k))
    if method != "ipw":
        gram = sums.gram[among].sum(axis=0)
        root = root_of(gram / gram[0, 0])
        if root is None or _count(which, w) <= k:
            return None
        solve = np.linalg.inv(root) @ np.linalg.inv(root).T / gram[0, 0]
        cross = sums.cross[among].sum(axis=0)
        beta = solve @ (cross[:, at] - cross[:, base])
    chance = None
    if method != "reg":
        chance = _chance(rows, which, w)
        if chance is None:
            return None
    value = change - mean_z @ beta
    # A comparison row's score is -h change + [z, odds] @ tail, see `_write`.
    gap, tilt, centre, total = mean_z, np.zeros((k, len(at))), np.zeros(len(at)), 1.0
    if chance is not None:
        total = chance.square[0, 0]
        tilted = chance.square[0] / total
        left = (chance.cross[:, at] - chance.cross[:, base] - chance.square @ beta) / total
        centre = left[0]
        slope = left - np.outer(tilted, centre)
        value = value - centre - chance.step @ slope
        tilt = np.linalg.solve(chance.root, np.linalg.solve(chance.root.T, slope))
        gap = mean_z - tilted
    carry = solve @ gap
    _write(rows, which, at, base, w, (change - mean_z @ beta, mass), beta, carry, chance, (centre, total, tilt), out,
           columns)  # fmt: skip
    return value


def _count(which: Comparison, w: Array) -> int:
    return int(sum((w[s] > 0).sum() for s in which.others))


def _write(
    rows: Rows,
    which: Comparison,
    at: Array,
    base: Array,
    w: Array,
    treated: tuple[Array, float],
    beta: Array,
    carry: Array,
    chance: Chance | None,
    model: tuple[Array, float, Array],
    out: Array,
    columns: Array,
) -> None:
    """The scores of one comparison, block by block."""
    middle, mass = treated
    centre, total, tilt = model
    place = slice(int(columns[0]), int(columns[-1]) + 1) if (np.diff(columns) == 1).all() else columns
    for b in _blocks(which.mine):
        z, v = rows.z[:, b], w[b] / mass
        scores = rows.y[at, b] - rows.y[base, b] - beta.T @ z - middle[:, None]
        scores *= v
        if chance is not None:
            scores -= (w[b] * _other(chance.coefficients @ z)) * (tilt.T @ z)
        out[rows.order[b], place] = scores.T
    for s, others in enumerate(which.others):
        for b in _blocks(others):
            z, v = rows.z[:, b], w[b]
            lever = v * (carry @ z)
            parts, tail = [], []
            if chance is not None:
                odds = chance.odds[s][b.start - others.start : b.stop - others.start]
                pull = v * odds / total
                lever += pull
                parts, tail = [(v * odds / (1.0 + odds)) * z, pull[None, :]], [tilt, centre[None, :]]
            if beta.any():
                parts.append(lever * z)
                tail.append(beta)
            scores = (rows.y[base, b] - rows.y[at, b]) * lever
            if parts:
                scores += np.concatenate(tail).T @ np.concatenate(parts)
            out[rows.order[b], place] = scores.T


def _other(h: Array) -> Array:
    """The chance of not being treated at a logit."""
    return 1.0 / (1.0 + np.exp(h))


def _chance(rows: Rows, which: Comparison, w: Array) -> Chance | None:
    """Newton's method on the model of who is treated; None where it does not settle."""
    k = len(rows.z)
    mine = which.mine.stop - which.mine.start
    if min(mine, sum(s.stop - s.start for s in which.others)) < 1 or (w[which.mine] > 0).sum() + _count(which, w) <= k:
        return None
    guess = _first_guess(rows, which, w)
    size = np.inf
    for _ in range(STEPS):
        finished = _pass(rows, which, w, guess, 1, size < 3e-4)
        if finished is None:
            return None
        if finished.odds and np.abs(finished.step).max() <= SETTLED:
            return finished
        guess, size = guess + finished.step, float(np.abs(finished.step).max())
    return None


def _first_guess(rows: Rows, which: Comparison, w: Array) -> Array:
    """The share of treated; with many rows, a few steps on some of them, then one on more."""
    guess = np.zeros(len(rows.z))
    guess[0] = np.log(w[which.mine].sum() / sum(w[s].sum() for s in which.others))
    n = sum(s.stop - s.start for s in (which.mine, *which.others))
    for every, most in ((n // 5_000, 4), (8, 1)):
        if every < 4 or n // every < 5_000 or (which.mine.stop - which.mine.start) // every < 50 * len(guess):
            continue
        for _ in range(most):
            found = _pass(rows, which, w, guess, every, False)
            if found is None:
                break
            guess = guess + found.step
            if np.abs(found.step).max() < 1e-2:
                break
    return guess


def _pass(rows: Rows, which: Comparison, w: Array, at: Array, every: int, whole: bool) -> Chance | None:
    """Newton's step from ``at`` on every so many rows, and with ``whole`` what the effects need of the odds there."""
    k, t = len(rows.z), len(rows.y)
    hessian, gradient, square, cross = np.zeros((k, k)), np.zeros(k), np.zeros((k, k)), np.zeros((k, t))
    every_odds = []
    for treated, piece in ((True, which.mine), *((False, s) for s in which.others)):
        odds = np.empty(piece.stop - piece.start) if whole and not treated else None
        for b in _blocks(piece):
            z, v = rows.z[:, b][:, ::every], w[b][::every]
            h = at @ z
            if max(h.max(initial=0.0), -h.min(initial=0.0)) > FAR:
                return None
            e = np.exp(h)
            other = 1.0 / (1.0 + e)
            if treated:
                hessian += (z * (v * other * (1.0 - other))) @ z.T
                gradient += z @ (v * other)
                continue
            chance = v * (e * other)
            hessian += (z * (chance * other)) @ z.T
            gradient -= z @ chance
            if odds is not None:
                odds[b.start - piece.start : b.stop - piece.start] = e
                tilted = z * (v * e)
                square += tilted @ z.T
                cross += tilted @ rows.y[:, b].T
        if odds is not None:
            every_odds.append(odds)
    root = root_of(hessian / hessian[0, 0]) if hessian[0, 0] > 0 else None
    if root is None:
        return None
    root = root * np.sqrt(hessian[0, 0])
    step = np.linalg.solve(root, np.linalg.solve(root.T, gradient))
    return Chance(at, root, step, every_odds, square, cross)
