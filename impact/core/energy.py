"""Weights that make the whole distribution of one group like another's, by energy distance.

With p the weights of an arm (summing to one), q those of the target and D the distances between rows, the
energy distance between the two is 2 p'D q - p'D p - q'D q. On weights that sum to one this is p'K p plus a
constant, with

    K_ij = a_i + a_j - D_ij,    a_i = sum_j q_j D_ij over the target,

which is positive semi-definite: no linear term, and p is proportional to the u >= 0 with M u >= 1 and equality
where u > 0, M being K with a small ridge. The rows without weight are found by pivoting whole blocks.

References: huling2024.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Energy(NamedTuple):
    """The weights of an arm, and how they depend on their parameters.

    ``rows`` (m,) are the arm's positions with weight, ``share`` (m,) their weights, summing to one. ``influence``
    (n, m) is what each unit adds to the error of the m parameters (the right-hand sides of M u = 1), given its base
    weight, and ``slope`` (m, m) the derivative of the shares, one row each, in them.
    """

    rows: Array
    share: Array
    influence: Array
    slope: Array


def energy(x: Array, spread: Array, spread_scores: Array, s: Array, arm: Array, target: Array, ridge: float) -> Energy:
    """The weights of the arm that bring it closest to the target.

    Parameters
    ----------
    x : (n, k) columns. spread : (k,) what to divide them by. spread_scores : (n, k) what each unit adds to it.
    s : (n,) base weights. arm, target : (n,) bool.
    ridge : the penalty on the sum of squared shares, for units of equal base weight.
    """
    from scipy.spatial.distance import cdist

    live = spread > 0
    z = x[:, live] / spread[live]
    rows, goal = np.flatnonzero(arm), np.flatnonzero(target)
    q, v = s[goal] / s[goal].sum(), s[rows] / s[rows].sum()
    across, within = cdist(z[rows], z[goal]), cdist(z[rows], z[rows])
    a = across @ q
    penalty = ridge / (len(rows) * v)
    m = a[:, None] + a[None, :] - within
    m[np.diag_indices_from(m)] += penalty
    u = _complementary(m)
    on = np.flatnonzero(u > 0)
    u, a, across, within = u[on], a[on], across[on], within[np.ix_(on, on)]
    total = u.sum()
    inverse = np.linalg.inv(m[np.ix_(on, on)])
    influence = np.zeros((len(s), len(on)))
    # Who moves the target's mean distances, ...
    apart = across - a[:, None]
    influence[goal] -= (q * (apart * total + u @ apart)).T
    # ... the ridge, ...
    influence[rows] -= v[:, None] * (penalty[on] * u)
    # ... the arm's units, through all equations (that a unit's own weight grows with it is not counted here), ...
    kernel = m[np.ix_(on, on)]
    kernel[np.diag_indices_from(kernel)] -= penalty[on]
    influence[rows[on]] -= u[:, None] * kernel
    # ... and the scale of each column.
    for k in np.flatnonzero(live):
        slope_across = _slope(x[rows[on], k], x[goal, k], across, spread[k])
        slope_within = _slope(x[rows[on], k], x[rows[on], k], within, spread[k])
        moved = slope_across @ q
        influence -= spread_scores[:, k][:, None] * (moved * total + u @ moved - slope_within @ u)
    share = u / total
    return Energy(rows[on], share, influence, (inverse - share[:, None] * inverse.sum(axis=0)) / total)


def _slope(one: Array, other: Array, distance: Array, spread: float) -> Array:
    """The derivative of distances in the spread that a column is divided by."""
    square = ((one[:, None] - other[None, :]) / spread) ** 2
    return np.divide(-square / spread, distance, out=np.zeros_like(square), where=distance > 0)


def _complementary(m: Array) -> Array:
    """The u >= 0 with m u >= 1 and equality where u > 0, for positive definite m, by block principal pivoting."""
    n = len(m)
    on = np.ones(n, bool)
    fewest, patience = n + 1, 10
    for _ in range(50 + 10 * n):
        u = np.zeros(n)
        u[on] = np.linalg.solve(m[np.ix_(on, on)], np.ones(int(on.sum())))
        short = m @ u - 1
        wrong = (on & (u < 0)) | (~on & (short < -1e-12))
        if not wrong.any():
            return u
        if wrong.sum() < fewest:
            fewest, patience = int(wrong.sum()), 10
        elif patience:
            patience -= 1
        else:  # blocks may go round in circles: one at a time cannot
            wrong[: np.flatnonzero(wrong)[-1]] = False
        on ^= wrong
    raise ArithmeticError("the search for the rows without weight did not end")
