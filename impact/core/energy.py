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

import numpy as np

Array = np.ndarray


def energy(x: Array, spread: Array, s: Array, arm: Array, target: Array, ridge: float) -> Array:
    """The weights of the arm's rows, summing to one, that bring it closest to the target.

    Parameters
    ----------
    x : (n, k) columns. spread : (k,) what to divide them by. s : (n,) base weights. arm, target : (n,) bool.
    ridge : the penalty on the sum of squared shares, for units of equal base weight.
    """
    from scipy.spatial.distance import cdist

    live = spread > 0
    z = x[:, live] / spread[live]
    rows, goal = np.flatnonzero(arm), np.flatnonzero(target)
    a = cdist(z[rows], z[goal]) @ (s[goal] / s[goal].sum())
    m = a[:, None] + a[None, :] - cdist(z[rows], z[rows])
    m[np.diag_indices_from(m)] += ridge * s[rows].sum() / (len(rows) * s[rows])
    u = _complementary(m)
    return u / u.sum()


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
