"""Weights that balance columns, exactly or within a tolerance, found by Newton's method on their dual.

Among the weights w_i = s_i r_i of an arm with balanced totals, sum_i w_i z_i = t, the ones closest to the
base weights s have r_i = rho(z_i'b), with a function rho that follows from what "closest" means:

    entropy   least sum s r (log r - 1)    rho(h) = exp(h)        never zero, never negative
    tilt      the logistic model's own     rho(h) = 1 + exp(h)    one over a probability
    variance  least sum s r^2              rho(h) = max(h, 0)     as even as can be, zeros allowed

and b minimises the convex function sum_i s_i R(z_i'b) - t'b + slack'|b|, with R' = rho: as few numbers
as there are columns, however many rows. With slack the totals may miss by as much as it says.

References: hainmueller2012, zhao2019, zubizarreta2015.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from impact.core.linear import Coordinates, blocks, centred, coordinates
from impact.core.threads import alone

Array = np.ndarray

SETTLED = 1e-11
"""Newton stops when no row's linear predictor moved more than this share of the largest."""


class Family(NamedTuple):
    """A dual: ``at`` gives the loss R, its slope rho (how many each row stands for), and the slope of that.

    ``least`` is the infimum of rho.
    """

    at: Callable[[Array], tuple[Array, Array, Array]]
    least: float


def _entropy(h: Array) -> tuple[Array, Array, Array]:
    odds = np.exp(h)
    return odds, odds, odds


def _tilt(h: Array) -> tuple[Array, Array, Array]:
    odds = np.exp(h)
    return h + odds, 1 + odds, odds


def _variance(h: Array) -> tuple[Array, Array, Array]:
    positive = np.maximum(h, 0.0)
    return positive**2 / 2, positive, (h > 0).astype(float)


ENTROPY, TILT, VARIANCE = Family(_entropy, 0.0), Family(_tilt, 1.0), Family(_variance, 0.0)


class Unsettled(ArithmeticError):
    """Newton's method found no minimum: there are no such weights, or hardly."""


class Dual(NamedTuple):
    """The weights that balance, and what is needed to follow them when the data move.

    ``parameters`` (k,) are the minimum. ``ratio`` (n,): the new weight over the base weight, and ``slope`` (n,) its
    derivative in the row's linear predictor. ``curvature`` (k, k) is the Hessian. ``signs`` (k,): on which side of its
    slack each column stands, 0 for those held exactly; ``binds`` (k,) are the columns whose constraint binds.
    """

    parameters: Array
    ratio: Array
    slope: Array
    curvature: Array
    signs: Array
    binds: Array

    def influence(self, push: Array) -> Array:
        """(n, k): what each row adds to the error of the parameters, from what it adds to each balancing equation.

        ``push`` (n, k) is the row's part in the target less its part in the weighted totals. Parameters of
        constraints that do not bind are zero and stay there.
        """
        inverse = np.zeros_like(self.curvature)
        both = np.ix_(self.binds, self.binds)
        inverse[both] = np.linalg.pinv(self.curvature[both], rcond=1e-13, hermitian=True)
        return np.asarray(push @ inverse)


@alone
def dual(z: Array, s: Array, target: Array, family: Family, *, start: Array, slack: Array | None = None) -> Dual:
    """Balance the totals of the columns of z.

    Parameters
    ----------
    z : (n, k) columns, centred and scaled by the caller, an intercept among them where totals of weight count.
    s : (n,) non-negative base weights.
    target : (k,) the totals to reach.
    family : ``ENTROPY``, ``TILT`` or ``VARIANCE``.
    start : (k,) where to begin.
    slack : (k,) how far each total may miss, zero for exactly; columns may then repeat each other.

    Raises
    ------
    Unsettled
        No minimum was found.
    """
    total = s.sum()
    if slack is None and len(z) > 1_000 * len(start):
        some = slice(None, None, 16)
        try:  # most of the way on a few of the rows
            start = _climb(np.asfortranarray(z[some]), s[some] / s[some].sum(), target / total, None, family, start)
        except Unsettled:
            pass  # the few may be unable to balance where all are not
    b = _climb(z, s / total, target / total, None if slack is None else slack / total, family, start)
    _, ratio, slope = family.at(z @ b)
    slack = np.zeros(len(b)) if slack is None else slack
    return Dual(b, ratio, slope, _gram(z, s * slope), np.where(slack > 0, np.sign(b), 0.0), (b != 0) | (slack == 0))


def _climb(z: Array, s: Array, target: Array, slack: Array | None, family: Family, start: Array) -> Array:
    b, before = start.astype(float), np.inf
    h = z @ b
    loss, ratio, slope = _at(family, h, s, target, slack, b)
    for _ in range(200):
        step = _step(_gram(z, s * slope), z.T @ (s * ratio) - target, b, slack)
        move = z @ step
        size, length = np.abs(move).max() / (1 + np.abs(h).max()), 1.0
        # Small enough, or as small as rounding allows: what is left no longer shrinks.
        if size <= SETTLED or (size <= 1e3 * SETTLED and size > before / 2):
            return b + step
        before, allowed = size, loss + 1e-13 * (1 + abs(loss))
        with np.errstate(over="ignore", invalid="ignore"):
            while True:
                loss, ratio, slope = _at(family, h + length * move, s, target, slack, b + length * step)
                if loss <= allowed:
                    break
                length /= 2
                if length < 1e-10:
                    raise Unsettled
        b, h = b + length * step, h + length * move
        if np.abs(h).max() > 500:
            break
    raise Unsettled


def _at(family: Family, h: Array, s: Array, target: Array, slack: Array | None, b: Array) -> tuple[float, Array, Array]:
    losses, ratio, slope = family.at(h)
    return float(s @ losses - target @ b + (0.0 if slack is None else slack @ np.abs(b))), ratio, slope


def _gram(z: Array, w: Array) -> Array:
    gram = np.zeros((z.shape[1], z.shape[1]))
    for rows in blocks(len(z)):
        part = z[rows].T
        gram += (part * w[rows]) @ part.T
    return gram


def _step(curvature: Array, gradient: Array, b: Array, slack: Array | None) -> Array:
    """Newton's step; with slack, the one that also keeps small coefficients at zero."""
    if slack is None:
        return _solve(curvature, -gradient)
    size = np.diag(curvature)
    size = np.where(size > 1e-12 * size.max(initial=1e-300), size, np.inf)
    new, pull = b.copy(), gradient.copy()
    for _ in range(2000):
        furthest = 0.0
        for j in range(len(b)):
            free = new[j] - pull[j] / size[j]
            value = np.sign(free) * max(abs(free) - slack[j] / size[j], 0.0)
            if value != new[j]:
                pull += curvature[:, j] * (value - new[j])
                furthest = max(furthest, abs(value - new[j]) * np.sqrt(min(size[j], 1.0)))
                new[j] = value
        if furthest < 1e-9:
            break
    # Which constraints bind is now known: solve for those exactly.
    binds = (new != 0) | (slack == 0)
    signs = np.sign(new[binds])
    step = -b
    rest = gradient[binds] + (slack * np.sign(new))[binds] + curvature[np.ix_(binds, ~binds)] @ step[~binds]
    step[binds] = _solve(curvature[np.ix_(binds, binds)], -rest)
    exact = b + step
    kept = (np.sign(exact[binds]) == signs) | (slack[binds] == 0)
    return step if kept.all() else new - b


def _solve(curvature: Array, right: Array) -> Array:
    try:
        root = np.linalg.cholesky(curvature)
        if np.diag(root).min() > 1e-6 * np.diag(root).max():
            return np.asarray(np.linalg.solve(root.T, np.linalg.solve(root, right)))
    except np.linalg.LinAlgError:
        pass  # singular to rounding: the shortest of the solutions will do
    return np.asarray(np.linalg.lstsq(curvature, right, rcond=1e-13)[0])


def misses(z: Array, s: Array, target: Array, slack: Array, least: float) -> Array:
    """(k,) by how much each total must miss, in the closest that weights of at least ``least`` times s can come.

    Zero everywhere where the target can be reached. A linear programme; the first column is held exactly.
    """
    from scipy.optimize import linprog

    n, k = z.shape
    over = np.eye(k)[:, 1:]
    span = s.sum()
    inside = slack[1:] / span
    found = linprog(
        np.concatenate([np.zeros(n), np.ones(2 * (k - 1)), np.zeros(k - 1)]),
        A_eq=np.hstack([z.T, over, -over, over]),
        b_eq=target / span,
        bounds=[(least * x / span, None) for x in s] + [(0, None)] * (2 * (k - 1)) + [(-x, x) for x in inside],
    )
    if found.x is None:
        return np.full(k, np.inf)
    out = found.x[n : n + k - 1] + found.x[n + k - 1 : n + 2 * (k - 1)]
    return np.concatenate([[0.0], np.where(out > 1e-9, out, 0.0)])


def face(arm: Array, target: Array) -> Array:
    """Which rows of the arm may have weight at all, (n,) bool, from the columns of the arm and of the target.

    Where the whole target stands at the least (or greatest) value that a column has in the arm, balance leaves
    no weight to rows of the arm beyond it.
    """
    stays = np.ones(len(arm), bool)
    goal_low, goal_high = target.min(axis=0), target.max(axis=0)
    while True:
        left = arm if stays.all() else arm[stays]
        low, high = left.min(axis=0), left.max(axis=0)
        at = np.where(goal_high == low, low, high)
        edge = ((goal_high == low) | (goal_low == high)) & (low < high)
        on = stays & (arm[:, edge] == at[edge]).all(axis=1) if edge.any() else stays
        if not edge.any() or not on.any():
            return stays
        stays = on


def standardised(x: Array, s: Array) -> Coordinates:
    """:func:`impact.core.linear.coordinates`, by a short cut where the columns are well apart from each other."""
    v = s / s.sum()
    centre, gram = centred(x, v, np.ones(x.shape[1]))
    spread = np.sqrt(np.maximum(np.diag(gram), 0.0))
    if (spread > 1e-6 * np.abs(centre)).all() and (spread > 0).all():
        size = np.linalg.eigvalsh(gram / spread / spread[:, None])
        if size.min() > 1e-6:
            return Coordinates(centre, spread, np.arange(len(centre)), np.arange(0))
    return coordinates(x, s)


def columnwise(where: Coordinates, x: Array) -> Array:
    """``where.of(x)``, stored column by column, which is what sums over rows are fastest on."""
    z = np.empty((len(x), 1 + len(where.kept)), order="F")
    z[:, 0] = 1.0
    for rows in blocks(len(x)):
        for j, column in enumerate(where.kept):
            np.subtract(x[rows, column], where.centre[column], out=z[rows, j + 1])
            z[rows, j + 1] /= where.scale[column]
    return z
