"""Linear regression by weighted least squares, and what each row contributes to its error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from impact.core.threads import alone

Array = np.ndarray

COLLINEAR = 1e-8
"""A column is redundant when less than this share of it is left by the columns before it."""

BLOCK = 4096
"""Rows that are worked on at a time where many are: what is made of so few stays in the processor's cache."""


def blocks(n: int) -> Iterator[slice]:
    """The rows of an array, so many at a time."""
    return (slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))


class Coordinates(NamedTuple):
    """Well-conditioned coordinates for a design: an intercept, then centred and scaled columns.

    A regression in any two sets of coordinates that span the same space has the same
    predictions, so the fits of this package work in these and never meet the units of the data:
    columns on scales of 1e-9 and 1e9, or around 1e12, cost no digits that the data still have.

    ``centre`` and ``scale`` are (p,), over all columns; ``kept`` and ``redundant`` are positions
    among them. The design has k = 1 + len(kept) columns.
    """

    centre: Array
    scale: Array
    kept: Array
    redundant: Array

    def of(self, x: Array) -> Array:
        """The rows ``x`` (n, p) in these coordinates (n, k)."""
        out = np.empty((len(x), 1 + len(self.kept)), order="F")
        every, centre, scale = len(self.kept) == x.shape[1], self.centre[self.kept], self.scale[self.kept]
        for rows in blocks(len(x)):
            out[rows, 0] = 1.0
            np.subtract(x[rows] if every else x[rows, self.kept], centre, out=out[rows, 1:])
            out[rows, 1:] /= scale
        return out

    def in_units(self, coefficients: Array) -> Array:
        """Coefficients on [1, x] in the units of x: (1 + p,) or (1 + p, T), NaN where redundant."""
        out = np.full((1 + len(self.centre), *coefficients.shape[1:]), np.nan)
        wide = (-1, *[1] * (coefficients.ndim - 1))
        slopes = coefficients[1:] / self.scale[self.kept].reshape(wide)
        out[1 + self.kept] = slopes
        out[0] = coefficients[0] - (self.centre[self.kept].reshape(wide) * slopes).sum(axis=0)
        return out


@alone
def coordinates(x: Array, w: Array) -> Coordinates:
    """Coordinates for the rows of ``x`` that have weight, leaving out what earlier columns explain."""
    live = w > 0
    used, v = (x, w) if live.all() else (x[live], w[live])
    used, v = used.astype(float, copy=False), v / v.sum()
    none = np.zeros(x.shape[1])
    if not used.size:
        return Coordinates(none, none + 1, np.arange(0), np.arange(x.shape[1]))
    low, high = used.min(axis=0), used.max(axis=0)
    top = np.maximum(np.abs(low), np.abs(high))
    # Through the largest value first, so that squares of 1e200 neither overflow nor vanish.
    unit = np.where(top > 0, top, 1.0)
    rounding = 16 * np.finfo(float).eps
    flat = high / unit - low / unit <= rounding
    centre, gram = centred(used, v, unit)
    spread = np.sqrt(np.maximum(np.diag(gram), 0.0))
    scale = np.where(flat | (spread == 0), 1.0, spread)
    # The triangle holds the columns' geometry, so the search for redundant ones is p x p.
    shape = root_of(gram / scale / scale[:, None])
    if shape is None:
        shape = np.asarray(np.linalg.qr((used / unit - centre) * np.sqrt(v)[:, None] / scale, mode="r"))
    # A column around 1e12 has already lost digits to its offset, and cannot prove itself with them.
    tolerance = np.maximum(COLLINEAR, rounding / scale)
    kept = _independent(shape, tolerance, ~flat)
    redundant = np.setdiff1d(np.arange(x.shape[1]), kept)
    return Coordinates(centre * unit, scale * unit, kept, redundant)


@alone
def centred(x: Array, v: Array, unit: Array) -> tuple[Array, Array]:
    """Means and covariances of the columns of ``x / unit`` under weights that sum to one."""
    centre = v @ x / unit
    shift, gram, root = np.zeros(len(unit)), np.zeros((len(unit), len(unit))), np.sqrt(v)
    for rows in blocks(len(x)):
        part = x[rows] / unit
        part -= centre
        part *= root[rows, None]
        shift += root[rows] @ part
        gram += part.T @ part
    # The first mean rounds at the size of the offset: what it missed by is taken off both.
    return centre + shift, gram - np.outer(shift, shift)


def triangle(columns: Array) -> Array:
    """The upper triangle R with R'R = X'X: by Cholesky where that loses nothing that matters, else by QR.

    Cholesky is several times faster on tall matrices and loses digits with the square of the
    condition number; the diagonal tells how bad that is.
    """
    root = root_of(columns.T @ columns)
    return np.asarray(np.linalg.qr(columns, mode="r")) if root is None else root


def root_of(gram: Array) -> Array | None:
    """The upper triangle R with R'R the matrix, or None where Cholesky's would lose digits that matter."""
    try:
        root: Array = np.linalg.cholesky(gram).T
    except np.linalg.LinAlgError:  # not positive definite to rounding
        return None
    size = np.diag(root)
    return root if size.min() > 1e-3 * size.max() else None


def _independent(columns: Array, tolerance: Array, candidates: Array) -> Array:
    """Positions of the columns that are not combinations of earlier ones, first come first kept."""
    basis = np.zeros((len(columns), min(columns.shape)))
    kept: list[int] = []
    for j in np.flatnonzero(candidates):
        if len(kept) == basis.shape[1]:
            break
        before, left = basis[:, : len(kept)], columns[:, j]
        for _ in range(2):  # twice is enough (Kahan): the second pass removes what rounding left
            left = left - before @ (before.T @ left)
        size = np.linalg.norm(left)
        if size > tolerance[j]:
            basis[:, len(kept)] = left / size
            kept.append(int(j))
    return np.asarray(kept, int)


class LinearFit(NamedTuple):
    """A fitted regression of one outcome, or of T outcomes on the same columns.

    ``design`` (n, k) and ``coefficients`` (k,) or (k, T) are in the fit's own ``coordinates``;
    ``in_units()`` gives the coefficients a reader expects. ``residual`` has the shape of the
    outcome, for rows of no weight too. ``redundant`` lists the columns of x left out.
    """

    coordinates: Coordinates
    design: Array
    coefficients: Array
    residual: Array
    weights: Array
    root: Array

    @property
    def redundant(self) -> Array:
        """Positions in x of the columns that earlier columns already explain."""
        return self.coordinates.redundant

    def in_units(self) -> Array:
        """Coefficients on [1, x] in the units of x, NaN for redundant columns."""
        return self.coordinates.in_units(self.coefficients)

    def predict(self, x: Array) -> Array:
        """What the regression expects of the rows ``x`` (m, p): (m,) or (m, T)."""
        return self.coordinates.of(np.asarray(x, float)) @ self.coefficients

    def carry(self, gradient: Array) -> Array:
        """The scores of a function of the coefficients, from its gradient in them.

        ``gradient`` is (k,) for a function of one outcome's coefficients (or the same one of
        each), or (k, T), one column an outcome. The answer has the shape of the outcome:

            score_it = w_i e_it z_i' (Z'WZ)^{-1} g_t

        With ``gradient = fit.design.T @ v`` it is the score of the prediction's total over
        weights v. Nothing of size n x k x T is ever made.
        """
        from scipy.linalg import solve_triangular

        half = solve_triangular(self.root, gradient, trans="T")
        direction = self.design @ solve_triangular(self.root, half)
        wide = (-1, *[1] * (self.residual.ndim - 1))
        if direction.ndim < self.residual.ndim:
            direction = direction.reshape(wide)
        return self.weights.reshape(wide) * self.residual * direction


def least_squares(y: Array, x: Array, w: Array) -> LinearFit:
    """Regress y on an intercept and the columns of x, minimising sum_i w_i (y_i - z_i'b)^2.

    Parameters
    ----------
    y : (n,) or (n, T) outcomes.
    x : (n, p) columns, without intercept, on any scale. Columns that earlier ones explain among
        the rows with weight are left out and reported as ``redundant``; predictions then lean on
        the columns kept.
    w : (n,) non-negative weights.

    Raises
    ------
    ValueError
        When the rows with weight are not more than the columns they should tell apart.
    """
    where = coordinates(x, w)
    design = where.of(x)
    used, k = w > 0, design.shape[1]
    if used.sum() <= k:
        raise ValueError(
            f"A regression on {k} columns (with the intercept) was asked of {int(used.sum())} rows, which "
            "leaves nothing to estimate its error from. Name fewer covariates or categories, or use more units."
        )
    half = np.sqrt(w[used])
    q, root = np.linalg.qr(half[:, None] * design[used])
    # The outcome too is centred, so that one around 1e12 keeps its digits.
    middle = (w[used] @ y[used]) / w[used].sum()
    centred = y[used] - middle
    from scipy.linalg import solve_triangular

    coefficients = solve_triangular(root, q.T @ (half.reshape(-1, *[1] * (y.ndim - 1)) * centred))
    residual = (y - middle) - design @ coefficients
    coefficients[0] += middle
    return LinearFit(where, design, coefficients, residual, np.asarray(w, float), root)
