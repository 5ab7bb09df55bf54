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

from typing import NamedTuple

import numpy as np

from impact.core.cohorts import Comparison, Part, Rows, Sums, blocks
from impact.core.linear import root_of
from impact.core.threads import alone

Array = np.ndarray

SETTLED = 1e-7
"""Newton's method stops at a step of this size, which the effects take to first order: what is left is its square."""
STEPS = 15
FAR = 30.0
"""Beyond this logit nobody is compared with anybody: the careful functions look at such data."""


class _Chance(NamedTuple):
    """A model of who is treated: coefficients, the triangle of the information, and the last step, not taken.

    ``odds`` of the comparison rows, run by run; ``square`` (k, k) and ``cross`` (k, T) are sums over them of
    w odds z z' and of w odds z y'.
    """

    coefficients: Array
    root: Array
    step: Array
    odds: list[Array]
    square: Array
    cross: Array


class _Lines(NamedTuple):
    """What the scores of one comparison are made of, for K effects; see `_write`.

    The treated: ``mass`` and the (K,) ``middle`` of what the regression leaves of their change. The comparison: (k, K)
    coefficients ``beta``, (k,) ``carry`` of the regression, and of the model of who is treated the sum of odds
    ``total``, the (K,) mean ``centre`` of what is left under them, and (k, K) ``tilt``.
    """

    mass: float
    middle: Array
    beta: Array
    carry: Array
    total: float
    centre: Array
    tilt: Array


@alone
def effects(
    rows: Rows, which: Comparison, at: Array, base: Array, method: str, w: Array, sums: Sums, out: Array, columns: Array
) -> Array | None:
    """The effects on one group at the periods ``at`` (K,), each from its ``base`` period, against the same units.

    Returns the (K,) values, or None where the careful functions must look; writes the scores into the rows
    ``columns`` (K,) of ``out`` (C, n), whose columns are in the order of the sample. ``w`` (m,) are the weights of
    the sorted rows, and ``sums`` made with them.
    """
    k, part = len(rows.part.z), rows.part._replace(w=w)
    method = "reg" if k == 1 else method
    among = [g for run in which.others for g in range(run.start, run.stop)]
    mass = float(sums.weight[which.mine.start])
    if not (mass > 0 and sums.weight[among].sum() > 0):
        return None
    mean_z = sums.gram[which.mine.start][0] / mass
    change = (sums.cross[which.mine.start][0, at] - sums.cross[which.mine.start][0, base]) / mass
    solve, beta = np.zeros((k, k)), np.zeros((k, len(at)))
    if method != "ipw":
        gram, cross = sums.gram[among].sum(axis=0), sums.cross[among].sum(axis=0)
        root = root_of(gram / gram[0, 0])
        if root is None or part.count(which.others) <= k:
            return None
        half = np.linalg.inv(root)
        solve = half @ half.T / gram[0, 0]
        beta = solve @ (cross[:, at] - cross[:, base])
    middle = change - mean_z @ beta
    chance = None
    value, gap, total, centre, tilt = middle, mean_z, 1.0, np.zeros(len(at)), np.zeros((k, len(at)))
    if method != "reg":
        chance = _chance(rows, part, which)
        if chance is None:
            return None
        total = chance.square[0, 0]
        tilted = chance.square[0] / total
        left = (chance.cross[:, at] - chance.cross[:, base] - chance.square @ beta) / total
        centre = left[0]
        slope = left - np.outer(tilted, centre)
        value = middle - centre - chance.step @ slope
        tilt = np.linalg.solve(chance.root, np.linalg.solve(chance.root.T, slope))
        gap = mean_z - tilted
    _write(
        rows, part, which, at, base, chance, _Lines(mass, middle, beta, solve @ gap, total, centre, tilt), out, columns
    )
    return value


def _write(
    rows: Rows,
    part: Part,
    which: Comparison,
    at: Array,
    base: Array,
    chance: _Chance | None,
    lines: _Lines,
    out: Array,
    columns: Array,
) -> None:
    """The scores of one comparison, block by block.

    With e what the regression leaves of a change, the treated have w (e - middle) / mass - w (1 - p) z'tilt, and the
    others -(w odds / total) (e - centre) - w e z'carry + w p z'tilt.
    """

    def put(b: slice, scores: Array) -> None:
        place = rows.order[b]
        for column, line in zip(columns, scores, strict=True):
            out[column, place] = line

    for b in blocks(part.run(which.mine)):
        z, v = part.z[:, b], part.w[b]
        scores = rows.y[at, b] - rows.y[base, b]
        scores -= lines.beta.T @ z
        scores -= lines.middle[:, None]
        scores *= v / lines.mass
        if chance is not None:
            scores -= lines.tilt.T @ (z * (v / (1.0 + np.exp(chance.coefficients @ z))))
        put(b, scores)
    for run, others in enumerate(which.others):
        here = part.run(others)
        for b in blocks(here):
            z, v = part.z[:, b], part.w[b]
            lever = v * (lines.carry @ z)
            if chance is not None:
                odds = chance.odds[run][b.start - here.start : b.stop - here.start]
                pull = v * odds
                likely = pull / (1.0 + odds)
                pull /= lines.total
                lever += pull
            scores = lines.beta.T @ z
            scores -= rows.y[at, b]
            scores += rows.y[base, b]
            scores *= lever
            if chance is not None:
                scores += lines.tilt.T @ (z * likely)
                scores += lines.centre[:, None] * pull
            put(b, scores)


def _chance(rows: Rows, part: Part, which: Comparison) -> _Chance | None:
    """Newton's method on the model of who is treated; None where it does not settle."""
    k = len(part.z)
    if part.count(which.runs) <= k:
        return None
    guess = np.zeros(k)
    guess[0] = np.log(part.weight((which.mine,)) / part.weight(which.others))
    for thin in rows.thinner:  # few rows bring it near, then more of them nearer
        if thin.count((which.mine,)) < 20 * k or thin.count(which.others) < 20 * k:
            continue
        for _ in range(4):
            found = _pass(thin, which, guess)
            if found is None:
                break
            guess = guess + found.step
            if np.abs(found.step).max() < 0.05:
                break
    size = np.inf
    for _ in range(STEPS):
        found = _pass(part, which, guess, rows.y if size < 3e-4 else None)
        if found is None:
            return None
        size = float(np.abs(found.step).max())
        if found.odds and size <= SETTLED:
            return found
        guess = guess + found.step
    return None


def _pass(part: Part, which: Comparison, at: Array, y: Array | None = None) -> _Chance | None:
    """Newton's step from the coefficients ``at``, and given the outcomes what the effects need of the odds there."""
    k = len(part.z)
    hessian, gradient = np.zeros((k, k)), np.zeros(k)
    square, cross = np.zeros((k, k)), np.zeros((k, 0 if y is None else len(y)))
    every_odds: list[Array] = []
    for run in which.runs:
        treated, here = run is which.mine, part.run(run)
        odds = np.empty(here.stop - here.start) if y is not None and not treated else None
        for b in blocks(here):
            z, v = part.z[:, b], part.w[b]
            e = at @ z
            if max(e.max(), -e.min()) > FAR:
                return None
            np.exp(e, out=e)
            other = 1.0 / (1.0 + e)
            pull = v * other
            likely = pull * e
            pulled = z * (likely * other)
            hessian += pulled @ z.T
            gradient += z @ (pull if treated else -likely)
            if odds is not None and y is not None:
                odds[b.start - here.start : b.stop - here.start] = e
                np.multiply(z, v * e, out=pulled)
                square += pulled @ z.T
                cross += pulled @ y[:, b].T
        if odds is not None:
            every_odds.append(odds)
    root = root_of(hessian / hessian[0, 0]) if hessian[0, 0] > 0 else None
    if root is None:
        return None
    root = root * np.sqrt(hessian[0, 0])
    step = np.linalg.solve(root, np.linalg.solve(root.T, gradient))
    return _Chance(at, root, step, every_odds, square, cross)
