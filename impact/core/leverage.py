"""Bell and McCaffrey's error of one coefficient, for few or unequal clusters.

A cluster with much leverage pulls the regression towards itself, so that its residuals are too small.
They are divided by the root of one less the leverage, matrix by matrix (CR2), and the t reference has
the degrees of freedom of the quadratic form that the variance then is, if errors are alike.

References: bell2002, imbens2016.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from impact.core.permutation import Partial

Array = np.ndarray


class Coefficient(NamedTuple):
    """A coefficient, its CR2 standard error, and Bell and McCaffrey's degrees of freedom; NaN where there is none."""

    value: float
    std_error: float
    df: float


def coefficient(outcome: Array, treated: Array, weights: Array, covariates: Array, cluster: Array) -> Coefficient:
    """Treatment's coefficient in a weighted regression on an intercept, treatment and covariates.

    With Q an orthonormal basis of the regressors, S_g = Q_g' Q_g, u the residuals and d what is left of
    treatment after the other regressors, which is the last column of Q times its length,

        variance = sum over g of (e' (I - S_g)^(-1/2) Q_g' u_g)^2 / |d|^2,

    e choosing the last column: inverse roots of n_g by n_g matrices are those of k by k ones.

    Parameters
    ----------
    outcome, treated, weights, cluster : (n,); clusters coded from 0 without gaps
    covariates : (n, p), without intercept
    """
    partial = Partial.of(covariates, weights)
    y, d = partial.rest(outcome), partial.rest(treated.astype(float))
    length = float(np.sqrt(d @ d))
    value = float(y @ d) / length**2
    basis = np.column_stack([partial.basis, d / length])
    groups, k = int(cluster.max()) + 1, basis.shape[1]
    crossed = np.zeros((groups, k, k))
    np.add.at(crossed, cluster, basis[:, :, None] * basis[:, None, :])
    pulled = np.zeros((groups, k))
    np.add.at(pulled, cluster, basis * (y - value * d)[:, None])
    size, turn = np.linalg.eigh(np.eye(k) - crossed)
    # A direction that only one cluster speaks to has no residual there: its part is left out, unless it is treatment.
    alone = size < 1e-10
    if (np.abs(np.where(alone, turn[:, -1, :], 0.0)) > 1e-6).any():
        return Coefficient(value, np.nan, np.nan)
    root = np.where(alone, 0.0, 1.0 / np.sqrt(np.where(alone, 1.0, size)))
    weight = np.einsum("gij,gj,gj->gi", turn, root, turn[:, -1, :])  # (I - S)^(-1/2) e
    variance = ((weight * pulled).sum(axis=1) ** 2).sum() / length**2
    own = np.einsum("gi,gij,gj->g", weight, crossed, weight)
    load = np.einsum("gij,gj->gi", crossed, weight)
    # The quadratic form's matrix is diag(own) - load load'.
    trace = own.sum() - (load**2).sum()
    square = (own**2).sum() - 2 * (own * (load**2).sum(axis=1)).sum() + ((load.T @ load) ** 2).sum()
    return Coefficient(value, float(np.sqrt(variance)), float(trace**2 / square))
