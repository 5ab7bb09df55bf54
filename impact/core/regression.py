"""Regression on repeated observations of units, with fixed effects absorbed, and each unit's part in its error.

An observation belongs to a unit, and a unit's weight to all its observations. Errors are by unit, or by
clusters of units; the small-sample factor of the house, G / (G - 1), is an Estimate's, and constants
absorbed are not counted: fixest has (N - 1) / (N - K) besides, K counting the coefficients and the
effects that are not nested in clusters; linearmodels and Stata's areg count more of them.

References: arellano1987, cameron2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from impact.core.bell_mccaffrey import BellMcCaffrey, bell_mccaffrey
from impact.core.fixed_effects import Absorber, totals
from impact.core.linear import COLLINEAR, _independent, root_of

Array = np.ndarray


@dataclass(frozen=True)
class Regression:
    """A fitted regression with absorbed effects.

    Attributes
    ----------
    coefficients : (k,) of the columns ``kept``
    scores : (n, k) what each unit adds to their error: weight times derivative in the unit's weight,
        its observations summed; zero for units of no weight
    kept, redundant : positions among the columns of x: those estimated, and those that the effects or
        earlier columns explain
    inverse : (k, k) inverse of the columns' weighted cross product, effects taken out
    residual : (N,) of the observations with weight
    used : (N,) which observations those are
    absorbed : how many constants the effects amount to
    """

    coefficients: Array
    scores: Array
    kept: Array
    redundant: Array
    inverse: Array
    residual: Array
    used: Array
    absorbed: int
    _columns: Array
    _weights: Array
    _effects: tuple[Array, ...]
    _row: Array

    def parts(self) -> Array:
        """(N, k) the scores before they are summed by unit: what each observation with weight adds to the error."""
        return (self._columns * (self._weights * self.residual)[:, None]) @ self.inverse

    def small(self, cluster: Array) -> BellMcCaffrey | None:
        """CR2 with Bell and McCaffrey's degrees, clusters being (n,) codes of units from 0; None where too costly."""
        count = int(cluster.max()) + 1
        return bell_mccaffrey(self._columns, self.residual, self._weights, self._effects, cluster[self._row], count)

    @property
    def degrees(self) -> int:
        """Observations less coefficients and constants: what conventional errors are computed with."""
        return len(self.residual) - len(self.kept) - self.absorbed

    def conventional(self) -> Array:
        """(k, k) covariance if errors were independent with one variance (over the weight)."""
        return self.inverse * float(self._weights @ self.residual**2) / self.degrees


def regress(
    y: Array, x: Array, *, row: Array, effects: Sequence[Array], weights: Array, share: Array | None = None
) -> Regression:
    """Regress y on the columns of x and on constants for each level of each effect.

        minimise the sum over observations o of w_row(o) s_o (y_o - x_o'b - sum_e a_e(o))^2

    Parameters
    ----------
    y : (N,) observations.
    x : (N, k) columns. Those that the effects or earlier columns explain are left out, as ``redundant``.
    row : (N,) the unit of each observation, as its position among the n units.
    effects : labels, one (N,) array for each effect. At least one: for an intercept alone, zeros.
    weights : (n,) non-negative weights of units.
    share : (N,) how much of its unit's weight an observation has, if not all of it. Scores take it as given.

    Raises
    ------
    ValueError
        No column is left that the effects do not explain, or no observation beyond the columns.
    """
    w = weights[row] * (1.0 if share is None else share)
    used = w > 0
    row, w = row[used], w[used]
    effects = tuple(np.asarray(e)[used] for e in effects)
    y, x = y[used] - np.average(y[used], weights=w), np.asarray(x[used], float)
    absorber = Absorber(effects, w)
    both = absorber.residual(np.column_stack([y, x]))
    flat, columns = both[:, 0], both[:, 1:]
    half = np.sqrt(w)[:, None]
    weighted = columns if (w == 1).all() else half * columns
    scale, shape = geometry(weighted)
    kept = told_apart(scale, shape, np.sqrt(w @ (x - w @ x / w.sum()) ** 2))
    spare = len(y) - absorber.rank - len(kept)
    if not len(kept) or spare < 1:
        raise ValueError(
            f"A regression on {x.shape[1]} columns with {absorber.rank:,} constants was asked of {len(y):,} "
            f"observations, which tells {len(kept)} of the columns from the constants and leaves {max(spare, 0)} "
            "observations to estimate an error from: use more periods or units, or fewer effects."
        )
    inverse = inverse_of(scale[kept], shape[:, kept])
    if len(kept) < x.shape[1]:
        columns, weighted = columns[:, kept], weighted[:, kept]
    y = half[:, 0] * flat
    coefficients = inverse @ (weighted.T @ y)
    coefficients += inverse @ (weighted.T @ (y - weighted @ coefficients))  # one step of refinement
    residual = flat - columns @ coefficients
    scores = totals(columns * (w * residual)[:, None], row, len(weights)) @ inverse
    return Regression(
        coefficients, scores, kept, np.setdiff1d(np.arange(x.shape[1]), kept), inverse, residual, used,
        absorber.rank, columns, w, effects, row,
    )  # fmt: skip


def geometry(columns: Array) -> tuple[Array, Array]:
    """The sizes of (N, k) columns, and a small matrix with the same cross product as the columns over their sizes."""
    gram = columns.T @ columns
    size = np.sqrt(np.diag(gram))
    size = np.where(size > 0, size, 1.0)
    shape = root_of(gram / size / size[:, None])
    return size, np.asarray(np.linalg.qr(columns / size, mode="r")) if shape is None else shape


def told_apart(size: Array, shape: Array, before: Array) -> Array:
    """Positions of the columns that neither the effects nor earlier columns explain.

    ``size`` and ``shape`` are the geometry of the columns without the effects; ``before`` (k,) how large they were.
    """
    there = (size > COLLINEAR * before) & (np.abs(shape).max(axis=0) > 0)
    return _independent(shape, np.full(len(size), COLLINEAR), there)


def inverse_of(size: Array, shape: Array) -> Array:
    """The inverse of the columns' cross product, from their geometry."""
    from scipy.linalg import cho_solve

    root = np.linalg.qr(shape, mode="r")
    return np.asarray(cho_solve((root, False), np.eye(len(size))) / size / size[:, None])
