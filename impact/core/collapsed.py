"""Two-way effects in a balanced panel, from the means of groups that are treated alike.

Where every unit is seen in every period and a regressor is the same for all units of a group, the
regression on unit and period effects needs the data only through the groups' means: with w the weights,
Z = [1, z] the units' covariates (each with an effect of its own in every period) and F_c the pattern of
the regressors in group c, less its mean over time,

    the cross product of the regressors is  sum_cd S_cd F_c'F_d,   S = D'WD - D'WZ (Z'WZ)^-1 Z'WD,

D telling who is in which group. This is exact, and as fast as reading the outcomes once.

References: frisch1933.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from impact.core.linear import coordinates
from impact.core.regression import solved, told_apart
from impact.core.threads import alone

Array = np.ndarray


class Collapsed(NamedTuple):
    """Coefficients (k,) of the ``kept`` regressors, (n, k) scores, and what conventional errors need.

    ``inverse`` (k, k) is that of the regressors' cross product; ``squares`` the weighted sum of squared
    residuals, and ``degrees`` the observations less all constants and coefficients.
    """

    coefficients: Array
    scores: Array
    kept: Array
    redundant: Array
    inverse: Array
    squares: float
    degrees: int

    def conventional(self) -> Array:
        """(k, k) covariance if errors were independent with one variance (over the weight)."""
        return self.inverse * self.squares / self.degrees


@alone
def collapsed(y: Array, group: Array, pattern: Array, z: Array, w: Array, *, within: bool = True) -> Collapsed:
    """Regress y on a pattern of regressors, with unit and period effects.

    Parameters
    ----------
    y : (n, T) outcomes, all seen.
    group : (n,) codes from 0 of units whose regressors are the same.
    pattern : (C, T, k) the regressors of each group.
    z : (n, p) covariates, each with an effect of its own in every period.
    w : (n,) non-negative weights.
    within : whether units have effects of their own; else periods only, as in first differences.

    Raises
    ------
    ValueError
        No regressor is left that the effects do not explain.
    """
    live = np.flatnonzero(w > 0)
    y, group, v = y[live], group[live], w[live].astype(float)
    design = coordinates(z[live], v).of(z[live])
    pattern = pattern - pattern.mean(axis=1, keepdims=True) if within else pattern
    y = y - np.average(y.mean(axis=1), weights=v)
    gram = design.T @ (v[:, None] * design)
    order = np.argsort(group, kind="stable")
    bounds = np.searchsorted(group[order], np.arange(len(pattern) + 1))
    rows = [order[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    by_group = np.array([v[r] @ design[r] for r in rows])  # (C, q): D'WZ, whose first column is the weight
    gamma = np.linalg.solve(gram, by_group.T)  # (q, C)
    slopes = np.linalg.solve(gram, design.T @ (v[:, None] * y))  # (q, T)
    left = np.diag(by_group[:, 0]) - by_group @ gamma
    root = _root(left)
    columns = np.einsum("cr,ctk->rtk", root, pattern).reshape(-1, pattern.shape[2])
    full = np.einsum("c,ctk->ctk", np.sqrt(by_group[:, 0]), pattern).reshape(-1, pattern.shape[2])
    kept = told_apart(columns, np.sqrt((full**2).sum(axis=0)))
    n, periods = y.shape
    degrees = n * periods - len(kept) - (n + (periods - 1) * design.shape[1] if within else periods * design.shape[1])
    if not len(kept) or degrees < 1:
        raise ValueError(
            f"A regression on {pattern.shape[2]} columns, with effects of {n:,} units and {periods} periods, tells "
            f"{len(kept)} of the columns from the effects and leaves {max(degrees, 0)} observations to estimate an "
            "error from: use more periods, or units that are treated at other times or never."
        )
    redundant = np.setdiff1d(np.arange(pattern.shape[2]), kept)
    pattern, columns = pattern[:, :, kept], columns[:, kept]
    seen = np.array([v[r] @ y[r] for r in rows]) - gamma.T @ (design.T @ (v[:, None] * y))
    _, inverse = solved(np.zeros(len(columns)), columns, np.ones(len(columns)))
    b = inverse @ np.einsum("ctk,ct->k", pattern, seen)
    b += inverse @ (np.einsum("ctk,ct->k", pattern, seen) - columns.T @ (columns @ b))  # one step of refinement
    effect = pattern @ b  # (C, T)
    constants = slopes - gamma @ effect  # (q, T): what each covariate does in each period
    aim = pattern @ inverse  # (C, T, k)
    own = np.einsum("qc,ctk->qtk", gamma, aim)
    scores, squares = np.zeros((len(w), len(kept))), 0.0
    for c, r in enumerate(rows):
        residual = y[r] - design[r] @ constants - effect[c]
        if within:
            residual -= residual.mean(axis=1, keepdims=True)
        squares += float(v[r] @ (residual**2).sum(axis=1))
        part = residual @ (aim[c] - own[0])
        for j in range(1, design.shape[1]):
            part -= design[r, j, None] * (residual @ own[j])
        scores[live[r]] = v[r, None] * part
    return Collapsed(b, scores, kept, redundant, inverse, squares, degrees)


def _root(matrix: Array) -> Array:
    """(C, C) whose product with its transpose is the matrix, which has no negative directions."""
    size, basis = np.linalg.eigh(matrix)
    out: Array = basis * np.sqrt(np.maximum(size, 0.0))
    return out
