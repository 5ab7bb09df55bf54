"""Matching with replacement, every tie kept: what the matched sets say, and how far that may be off.

Units with the same covariates share a cell, and a set is a set of cells: the cells of the other arm
that hold the M nearest units of it, and all cells as near as the last of these. Everything below is
sums over cells, so that a hundred thousand units in a few hundred cells cost a few hundred rows.

With w the weights, s_ij = w_j over the weight of i's set (zero outside it), e = y or, when the bias
is adjusted, what the other arm's regression leaves of y, and the population of interest P,

    t_i = +-(e_i - sum_j s_ij e_j)        t = sum_P w_i t_i / sum_P w_i
    K_j = sum_P w_i s_ij                  Q_j = sum_P w_i^2 s_ij^2

    V = [sum_P w_i^2 (t_i - t)^2 + sum_j (K_j^2 - Q_j + 2 w_j K_j 1(j in P)) v_j] / (sum_P w_i)^2

where v_j is the variance of y given the covariates and the arm: that within the set of j's own arm
that holds j and its nearest neighbours, or one for all, half the mean squared difference within
pairs about t. For two outcomes V is their covariance, products taking the place of squares.

References: abadie2006, abadie2011.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from impact.core.linear import least_squares
from impact.core.windows import Windows

Array = np.ndarray

TIE = 1e-7
"""Distances that differ by less than this share are equal: whitening rounds far below it."""


class Cells(NamedTuple):
    """Units with the same covariates: ``points`` (C, p) in the metric, ``code`` (n,) the cell of each unit.

    Squared distances that differ by no more than ``slack`` are equal.
    """

    points: Array
    code: Array
    slack: float = 0.0

    def total(self, values: Array) -> Array:
        """The sum over the units of each cell: (C,) or (C, k)."""
        if values.ndim == 1:
            return np.bincount(self.code, values, len(self.points))
        return np.column_stack([np.bincount(self.code, v, len(self.points)) for v in values.T])

    def sets(self, asking: Array, pool: Array, count: int) -> Any:
        """A sparse (C, C) matrix of ones: for the cell of each asking unit, the cells of its ``count`` nearest.

        ``asking`` and ``pool`` are (n,) bool; the pool has at least ``count`` units. Cells as far as
        the last one needed are all in. On one number sets are runs, and may be as long as the pool.
        """
        from scipy.sparse import csr_array
        from scipy.spatial import cKDTree

        size = np.bincount(self.code[pool], minlength=len(self.points))
        rows, cells = np.unique(self.code[asking]), np.flatnonzero(size)
        tree = cKDTree(self.points[cells])
        near = min(count + 1, len(cells))
        distance, place = tree.query(self.points[rows], k=np.arange(1, near + 1))
        last = (np.cumsum(size[cells][place], axis=1) >= count).argmax(axis=1)
        reach = distance[np.arange(len(rows)), last]
        reach = np.sqrt((reach * (1 + TIE) + 1e-12) ** 2 + self.slack)
        if self.points.shape[1] == 1:
            cells = cells[np.argsort(self.points[cells, 0])]
            here, there = self.points[rows, 0], self.points[cells, 0]
            first, last = np.searchsorted(there, here - reach), np.searchsorted(there, here + reach, side="right")
            return Windows(len(self.points), rows, cells, first, last)
        # Where all that were looked at are as near, there may be others.
        more = (distance[:, -1] <= reach) & (near < len(cells))
        row, rank = np.nonzero((distance <= reach[:, None]) & ~more[:, None])
        found = tree.query_ball_point(self.points[rows[more]], reach[more])
        row = np.concatenate([row, np.repeat(np.flatnonzero(more), [len(f) for f in found])])
        column = np.concatenate([place[row[: len(rank)], rank], *(np.asarray(f, int) for f in found)])
        return csr_array((np.ones(len(row)), (rows[row], cells[column])), shape=(len(self.points),) * 2)


def cells(x: Array, w: Array, metric: str, slack: float = 0.0) -> Cells:
    """The cells of the rows of x (n, p), and their points such that plain distance is the metric's.

    "inverse_variance" divides each column by its standard deviation; "mahalanobis" takes out the
    correlations too. Both are those of all rows, with their weights.
    """
    rows, code = np.unique(x, axis=0, return_inverse=True)
    v = w / w.sum()
    centred = rows - v @ x
    mass = np.bincount(code.ravel(), v)
    spread = np.sqrt(mass @ centred**2)
    points = centred / np.where(spread > 0, spread, 1.0)
    if metric == "mahalanobis":
        root, basis = np.linalg.eigh((points * mass[:, None]).T @ points)
        kept = root > 1e-10 * root.max()
        points = points @ (basis[:, kept] / np.sqrt(root[kept]))
    return Cells(points, code.ravel(), slack)


class Matched(NamedTuple):
    """What matching found: (k,) ``value``, its (k, k) ``covariance``, (n,) ``uses`` K_j, and counts of sets."""

    value: Array
    covariance: Array
    uses: Array
    largest_set: int


def effect(
    y: Array,
    d: Array,
    x: Array,
    w: Array,
    where: Cells,
    *,
    estimand: str,
    matches: int,
    bias_adjust: bool,
    variance_matches: int | None,
) -> Matched:
    """The effect of treatment on k outcomes y (n, k), with the covariance Abadie and Imbens prove.

    All rows have positive weights; ``x`` (n, p) is what the regressions adjust for. See the head of this file.
    """
    n, k = y.shape
    middle = np.average(y, axis=0, weights=w)
    y = y - middle  # sums of squares lose no digits to a common level
    gap, uses, squares = np.zeros((n, k)), np.zeros(n), np.zeros(n)
    within, largest = np.zeros((k, k)), 0
    target = {"ATT": d, "ATC": ~d, "ATE": np.ones(n, bool)}[estimand]
    for arm in (True, False):
        focal, pool = target & (d == arm), d != arm
        if not focal.any():
            continue
        member = where.sets(focal, pool, matches)
        share = _inverse(member @ where.total(w * pool))
        used = w * pool * (member.T @ (where.total(w * focal) * share))[where.code]
        squares += (w * pool) ** 2 * (member.T @ (where.total(w**2 * focal) * share**2))[where.code]
        left = least_squares(y, x, used).residual if bias_adjust else y
        imputed = (member @ where.total((w * pool)[:, None] * left)) * share[:, None]
        gap += (1.0 if arm else -1.0) * focal[:, None] * (left - imputed[where.code])
        within += (used[:, None] * left).T @ left
        within -= ((w * focal)[:, None] * imputed[where.code]).T @ imputed[where.code]
        uses += used
        largest = max(largest, int((member @ np.bincount(where.code[pool], minlength=len(share))).max()))
    whole = w[target].sum()
    value = (w * target) @ gap / whole
    about = np.where(target[:, None], gap - value, 0.0)
    weight = uses**2 - squares + 2 * w * uses * target
    if variance_matches is None:
        common = 0.5 * (((w * target)[:, None] * about).T @ about + within) / whole
        inside = weight.sum() * common
    else:
        inside = conditional(y, y, d, where, weight, variance_matches)
    between = ((w**2 * target)[:, None] * about).T @ about
    return Matched(value, (between + inside) / whole**2, uses, largest)


def conditional(a: Array, b: Array, d: Array, where: Cells, weight: Array, neighbours: int) -> Array:
    """sum_j weight_j cov_j(a, b): covariances of a (n, p) and b (n, k) given the covariates and the arm, (p, k).

    That of j is taken within the set of j's own arm that holds it and its nearest neighbours, ties too.
    """
    total = np.zeros((a.shape[1], b.shape[1]))
    for arm in (True, False):
        mine = d == arm
        total += local(a, b, where, mine, mine, weight * mine, neighbours + 1)
    return total


def local(a: Array, b: Array, where: Cells, asking: Array, pool: Array, weight: Array, count: int) -> Array:
    """sum_i weight_i cov_i(a, b), that of i being taken over the ``count`` units of the pool nearest to it."""
    member = where.sets(asking, pool, count)
    size = member @ where.total(pool.astype(float))
    mass = where.total(weight * asking)
    scaled = np.divide(mass, size - 1, out=np.zeros_like(mass), where=size > 1)
    products = (pool * (member.T @ scaled)[where.code])[:, None]
    means_a = (member @ where.total(pool[:, None] * a)) * _inverse(size)[:, None]
    means_b = (member @ where.total(pool[:, None] * b)) * _inverse(size)[:, None]
    return (products * a).T @ b - ((scaled * size)[:, None] * means_a).T @ means_b


def score_correction(
    y: Array,
    d: Array,
    design: Array,
    probability: Array,
    by_score: Cells,
    by_covariates: Cells,
    value: Array,
    estimand: str,
    matches: int,
    count: int,
) -> Array:
    """What must be added to the covariance (k, k) because the score p was estimated by a logit with ``design``.

    With I the information of the logit, N the size of the population of interest, z the design's
    columns and cov_a their covariance with y in arm a given p, over ``count`` units near on the score,

        ATE   -c'c, c = sum (1 - p) cov_1 + p cov_0
        ATT   -c'c + b'b, c = sum p (1 - p) z (g - t) + p (1 - p) cov_1 + p^2 cov_0,
                          b = sum p (1 - p) z (h - t)

    each over N and in the metric of I^-1. g is what the arms differ by at the unit's score, from means over
    the ``count`` nearest of either, itself left out; h is the unit's effect by matching on the covariates.
    The ATC is the ATT of the other arm. So estimated, these are Stata's ``teffects psmatch``, which
    takes ``by_covariates`` as plain distance in the units of the data.

    References: abadie2016, theorem 1 and 2.
    """
    if estimand == "ATC":
        d, probability, value = ~d, 1 - probability, -value
    p, everybody = probability, np.ones(len(d), bool)
    one, none = (1 - p, p) if estimand == "ATE" else (p * (1 - p), p**2)
    c = local(design, y, by_score, everybody, d, one, count) + local(design, y, by_score, everybody, ~d, none, count)
    information = (design * (p * (1 - p))[:, None]).T @ design
    if estimand == "ATE":
        return -_form(c / len(d), information)
    tilt = (p * (1 - p))[:, None] * design
    sign = np.where(d, 1.0, -1.0)[:, None]
    others = _others(y, d, by_score, count)
    c += tilt.T @ (sign * (others - _opposite(y, d, by_score, count)) - value)
    b = tilt.T @ (sign * (y - _opposite(y, d, by_covariates, matches)) - value)
    return _form(b / d.sum(), information) - _form(c / d.sum(), information)


def _form(c: Array, information: Array) -> Array:
    return c.T @ np.linalg.solve(information, c)


def _opposite(y: Array, d: Array, where: Cells, count: int) -> Array:
    """The mean outcome of each unit's ``count`` nearest units of the other arm, ties too: (n, k)."""
    out = np.empty_like(y)
    for arm in (True, False):
        mine = d == arm
        member = where.sets(mine, ~mine, count)
        size = member @ where.total((~mine).astype(float))
        out[mine] = ((member @ where.total(~mine[:, None] * y)) * _inverse(size)[:, None])[where.code[mine]]
    return out


def _others(y: Array, d: Array, where: Cells, count: int) -> Array:
    """The mean outcome of each unit's ``count`` nearest units of its own arm, itself left out, ties too: (n, k)."""
    out = np.empty_like(y)
    for arm in (True, False):
        mine = d == arm
        member = where.sets(mine, mine, count + 1)  # the unit itself is at no distance, and so always in
        size = (member @ where.total(mine.astype(float)))[where.code[mine]]
        out[mine] = ((member @ where.total(mine[:, None] * y))[where.code[mine]] - y[mine]) / (size - 1)[:, None]
    return out


def _inverse(x: Array) -> Array:
    return np.divide(1.0, x, out=np.zeros_like(x), where=x > 0)
