"""Linear regression by weighted least squares, and what each row contributes to its error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray

COLLINEAR = 1e-8
"""A column is redundant when less than this share of it is left by the columns before it."""


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
        out = np.ones((len(x), 1 + len(self.kept)), order="F")
        np.subtract(x[:, self.kept], self.centre[self.kept], out=out[:, 1:])
        out[:, 1:] /= self.scale[self.kept]
        return out

    def in_units(self, coefficients: Array) -> Array:
        """Coefficients on [1, x] in the units of x: (1 + p,) or (1 + p, T), NaN where redundant."""
        out = np.full((1 + len(self.centre), *coefficients.shape[1:]), np.nan)
        wide = (-1, *[1] * (coefficients.ndim - 1))
        slopes = coefficients[1:] / self.scale[self.kept].reshape(wide)
        out[1 + self.kept] = slopes
        out[0] = coefficients[0] - (self.centre[self.kept].reshape(wide) * slopes).sum(axis=0)
        return out


def coordinates(x: Array, w: Array) -> Coordinates:
    """Coordinates for the rows of ``x`` that have weight, leaving out what earlier columns explain."""
    used = x.astype(float, copy=False) if (w > 0).all() else x[w > 0].astype(float, copy=False)
    v = w[w > 0] / w[w > 0].sum()
    top = np.abs(used).max(axis=0, initial=0.0)
    # Through the largest value first, so that squares of 1e200 neither overflow nor vanish.
    unit = np.where(top > 0, top, 1.0)
    shrunk = used / unit
    centre = v @ shrunk
    centre = centre + v @ (shrunk - centre)  # twice: the first pass rounds at the size of the offset
    rounding = 16 * np.finfo(float).eps
    flat = np.ptp(shrunk, axis=0) <= rounding if len(used) else np.ones(x.shape[1], bool)
    columns = np.subtract(shrunk, centre, out=shrunk)
    columns *= np.sqrt(v)[:, None]
    spread = np.sqrt(np.einsum("ij,ij->j", columns, columns))
    scale = np.where(flat | (spread == 0), 1.0, spread)
    columns /= scale
    # The triangle holds the columns' geometry, so the search for redundant ones is p x p.
    shape = triangle(columns) if columns.size else np.zeros((0, x.shape[1]))
    # A column around 1e12 has already lost digits to its offset, and cannot prove itself with them.
    tolerance = np.maximum(COLLINEAR, rounding / scale)
    kept = _independent(shape, tolerance, ~flat)
    redundant = np.setdiff1d(np.arange(x.shape[1]), kept)
    return Coordinates(centre * unit, scale * unit, kept, redundant)


def triangle(columns: Array) -> Array:
    """The upper triangle R with R'R = X'X: by Cholesky where that loses nothing that matters, else by QR.

    Cholesky is several times faster on tall matrices and loses digits with the square of the
    condition number; the diagonal tells how bad that is.
    """
    try:
        root = np.linalg.cholesky(columns.T @ columns).T
        size = np.diag(root)
        if size.min() > 1e-3 * size.max():
            return root
    except np.linalg.LinAlgError:
        pass  # not positive definite to rounding: exactly the case for QR
    return np.asarray(np.linalg.qr(columns, mode="r"))


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
