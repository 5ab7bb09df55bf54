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

Array = np.ndarray

SETTLED = 1e-11
"""Newton stops when no row's linear predictor moved more than this share of the largest."""


class Family(NamedTuple):
    """A dual: the loss R, its slope rho (how many each row stands for), and the slope of that."""

    loss: Callable[[Array], Array]
    ratio: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    least: float


ENTROPY = Family(np.exp, np.exp, np.exp, 0.0)
TILT = Family(lambda h: h + np.exp(h), lambda h: 1 + np.exp(h), np.exp, 1.0)
VARIANCE = Family(
    lambda h: np.maximum(h, 0) ** 2 / 2, lambda h: np.maximum(h, 0), lambda h: (h > 0).astype(float), 0.0
)


class Unsettled(ArithmeticError):
    """Newton's method found no minimum: there are no such weights, or hardly."""


class Dual(NamedTuple):
    """The weights that balance, and how they depend on their p parameters.

    ``parameters`` (k,) are the minimum. ``ratio`` (n,): the new weight over the base weight. ``slope`` (n, p): the derivative of the ratio in the
    parameters. ``curvature`` (p, p): the Hessian. ``active`` (p,): positions of the columns whose constraint
    binds, and ``signs`` (p,): on which side of the slack (0 without slack).
    """

    parameters: Array
    ratio: Array
    slope: Array
    curvature: Array
    active: Array
    signs: Array

    def influence(self, push: Array) -> Array:
        """(n, p): what each row adds to the error of the parameters, from what it adds to each binding equation.

        ``push`` (n, k) is the row's part in the target less its part in the weighted totals, by column of z.
        """
        return np.asarray(push[:, self.active] @ _inverse(self.curvature))


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
    b = _climb(z, s / total, target / total, None if slack is None else slack / total, family, start)
    h = z @ b
    active = np.arange(len(b)) if slack is None else np.flatnonzero((b != 0) | (slack == 0))
    slope = family.slope(h)[:, None] * z[:, active]
    curvature = z[:, active].T @ (s[:, None] * slope)
    signs = np.zeros(len(active)) if slack is None else np.sign(b[active]) * (slack[active] > 0)
    return Dual(b, family.ratio(h), slope, curvature, active, signs)


def _climb(z: Array, s: Array, target: Array, slack: Array | None, family: Family, start: Array) -> Array:
    b, before = start.astype(float), np.inf
    h = z @ b
    loss = _loss(family, h, s, target, slack, b)
    for _ in range(200):
        gradient = z.T @ (s * family.ratio(h)) - target
        curvature = z.T @ ((s * family.slope(h))[:, None] * z)
        step = _step(curvature, gradient, b, slack)
        move = z @ step
        size, length = np.abs(move).max() / (1 + np.abs(h).max()), 1.0
        # Small enough, or as small as rounding allows: what is left no longer shrinks.
        if size <= SETTLED or (size <= 1e3 * SETTLED and size > before / 2):
            return b + step
        before = size
        with np.errstate(over="ignore", invalid="ignore"):
            while not (new := _loss(family, h + length * move, s, target, slack, b + length * step)) <= loss + 1e-13 * (
                1 + abs(loss)
            ):
                length /= 2
                if length < 1e-10:
                    raise Unsettled
        b, h, loss = b + length * step, h + length * move, new
        if np.abs(h).max() > 500:
            break
    raise Unsettled


def _loss(family: Family, h: Array, s: Array, target: Array, slack: Array | None, b: Array) -> float:
    return float(s @ family.loss(h) - target @ b + (0.0 if slack is None else slack @ np.abs(b)))


def _inverse(curvature: Array) -> Array:
    return np.asarray(np.linalg.pinv(curvature, rcond=1e-13, hermitian=True))


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


def face(x: Array, arm: Array, target: Array) -> Array:
    """Which rows of the arm may have weight at all, (n,) bool.

    Where the whole target stands at the least (or greatest) value that a column has in the arm, balance leaves
    no weight to rows of the arm beyond it.
    """
    arm = arm.copy()
    while True:
        low, high = x[arm].min(axis=0), x[arm].max(axis=0)
        goal_low, goal_high = x[target].min(axis=0), x[target].max(axis=0)
        at_low, at_high = (goal_high == low) & (low < high), (goal_low == high) & (low < high)
        if not (at_low | at_high).any():
            return arm
        stays = (x[:, at_low] == low[at_low]).all(axis=1) & (x[:, at_high] == high[at_high]).all(axis=1)
        if not (arm & stays).any():
            return arm
        arm &= stays
