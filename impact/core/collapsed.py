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

from impact.core.fixed_effects import NEGLIGIBLE
from impact.core.linear import coordinates
from impact.core.regression import geometry, inverse_of, told_apart
from impact.core.threads import alone

Array = np.ndarray


MOST = 3e7
"""Kinds of units times periods times columns, beyond which units are not sorted into kinds."""


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
    size, shape = geometry(columns)
    kept = told_apart(size, shape, np.sqrt((full**2).sum(axis=0)))
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
    inverse = inverse_of(size[kept], shape[:, kept])
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


@alone
def collapsed_with_gaps(y: Array, group: Array, pattern: Array, w: Array, *, within: bool = True) -> Collapsed | None:
    """The same where not every unit is seen in every period, without covariates: NaN in ``y`` says which.

    Units of one group that are seen in the same periods are alike, and are a kind. None where the kinds are
    so many that nothing is won.
    """
    live = np.flatnonzero((w > 0) & ~np.isnan(y).all(axis=1))
    y, v = y[live], w[live].astype(float)
    there = ~np.isnan(y)
    periods, k = y.shape[1], pattern.shape[2]
    kinds, code = _kinds(group[live], there)
    if len(kinds) * periods * (periods + k) > MOST:
        return None
    order = np.argsort(code, kind="stable")
    rows = np.split(order, np.searchsorted(code[order], np.arange(1, len(kinds))))
    seen, f = there[kinds].astype(float), pattern[group[live][kinds]]
    y = np.where(there, y - np.nanmean(y), 0.0)
    if within:
        y -= there * (y.sum(axis=1) / there.sum(axis=1))[:, None]
    weight = np.array([v[r].sum() for r in rows])
    total = np.array([v[r] @ y[r] for r in rows])  # (P, T)
    u = np.concatenate([f, np.broadcast_to(np.eye(periods), (len(kinds), periods, periods))], axis=2) * seen[:, :, None]
    raw = np.sqrt(np.einsum("p,ptk->k", weight, u[:, :, :k] ** 2))
    if within:
        u -= seen[:, :, None] * (u.sum(axis=1) / seen.sum(axis=1)[:, None])[:, None, :]
    flat = u.reshape(-1, k + periods) * np.repeat(np.sqrt(weight), periods)[:, None]
    half = _half_inverse(flat[:, k:].T @ flat[:, k:])
    slopes = half @ (half.T @ (flat[:, k:].T @ flat[:, :k]))
    columns = flat[:, :k] - flat[:, k:] @ slopes
    size, shape = geometry(columns)
    kept = told_apart(size, shape, raw)
    degrees = int(there.sum()) - len(kept) - half.shape[1] - (len(live) if within else 0)
    if not len(kept) or degrees < 1:
        raise ValueError(
            f"A regression on {k} columns, with effects of {len(live):,} units and {periods} periods, tells "
            f"{len(kept)} of the columns from the effects and leaves {max(degrees, 0)} observations to estimate an "
            "error from: use more periods, or units that are treated at other times or never."
        )
    inverse = inverse_of(size[kept], shape[:, kept])
    free = (u[:, :, :k] - u[:, :, k:] @ slopes)[:, :, kept]  # (P, T, k)
    b = inverse @ np.einsum("ptk,pt->k", free, total)
    own = half @ (half.T @ np.einsum("ptd,pt->d", u[:, :, k:], total)) - slopes[:, kept] @ b
    expected = u[:, :, kept] @ b + u[:, :, k:] @ own  # (P, T)
    b += inverse @ np.einsum("ptk,pt->k", free, total - weight[:, None] * expected)  # one step of refinement
    scores, squares, aim = np.zeros((len(w), len(kept))), 0.0, free @ inverse
    for p, r in enumerate(rows):
        residual = y[r] - expected[p]
        squares += float(v[r] @ (residual**2).sum(axis=1))
        scores[live[r]] = v[r, None] * (residual @ aim[p])
    return Collapsed(b, scores, kept, np.setdiff1d(np.arange(k), kept), inverse, squares, degrees)


def _kinds(group: Array, there: Array) -> tuple[Array, Array]:
    """One unit of each kind, and (n,) the kind of each unit: its group, and the periods in which it is seen."""
    row = np.column_stack([np.packbits(there, axis=1), group.astype(np.int64)[:, None].view(np.uint8)])
    _, kinds, code = np.unique(np.ascontiguousarray(row).view(f"V{row.shape[1]}").ravel(), return_index=True,
                               return_inverse=True)  # fmt: skip
    return kinds, code


def _half_inverse(matrix: Array) -> Array:
    """A factor of the generalised inverse: as many columns as the matrix has directions."""
    scale = np.sqrt(np.diag(matrix))
    scale = np.where(scale > 0, scale, 1.0)
    size, basis = np.linalg.eigh(matrix / scale / scale[:, None])
    real = size > NEGLIGIBLE * max(size.max(initial=0.0), 1e-300)
    out: Array = basis[:, real] / np.sqrt(size[real]) / scale[:, None]
    return out


def _root(matrix: Array) -> Array:
    """(C, C) whose product with its transpose is the matrix, which has no negative directions."""
    size, basis = np.linalg.eigh(matrix)
    out: Array = basis * np.sqrt(np.maximum(size, 0.0))
    return out
