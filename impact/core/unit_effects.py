"""Regressions with an effect for each unit, of outcomes over time on terms that units of one kind share.

    y_it = a_i + sum_j D_tj(k_i) z_i'b_j + e_it

k_i is the kind of unit i, D(k) a (T, J) matrix of terms (periods, times since adoption, cohort by period), and
z_i a constant and covariates. The unit effects are taken out exactly, and what is left to invert has J q columns
whatever the number of units: units of one kind that were seen in the same periods share everything but y and z.

References: borusyak2024, wooldridge2025.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from impact.core.linear import blocks
from impact.core.threads import alone

Array = np.ndarray

SINGULAR = 1e-10
"""Directions of the normal matrix, on the scale of correlations, in which the data say less than this say nothing."""


class UnitEffects(NamedTuple):
    """A fitted regression with unit effects.

    ``coefficients`` (J, q); ``residual`` (n, T) also where the regression was not asked to fit, and NaN where there is
    no outcome or the unit has no effect; ``fitted`` (n, T) bool. ``kind`` (n,), ``terms`` (K, T, J) and ``z`` (n, q)
    as given. ``inverse`` is of the normal matrix of the coefficients, and ``basis`` spans what the data say.
    """

    coefficients: Array
    residual: Array
    fitted: Array
    weights: Array
    kind: Array
    terms: Array
    z: Array
    inverse: Array
    basis: Array
    size: Array

    def estimable(self, gradient: Array) -> Array:
        """(m,) whether the data determine functions with these (m, J, q) gradients in the coefficients."""
        wanted = gradient.reshape(len(gradient), -1) / self.size
        left = wanted - (wanted @ self.basis) @ self.basis.T
        return np.linalg.norm(left, axis=1) <= 1e-6 * np.linalg.norm(wanted, axis=1)

    @alone
    def carry(self, gradient: Array) -> Array:
        """(n, m) scores of functions with these (m, J, q) gradients in the coefficients."""
        m, (J, q) = len(gradient), self.coefficients.shape
        pull = (self.inverse @ gradient.reshape(m, -1).T).reshape(J, q, m)
        scores = np.zeros((len(self.z), m))
        for rows in blocks(len(self.z)):
            left = np.where(self.fitted[rows], self.residual[rows], 0.0) * self.weights[rows, None]
            by_term = by_kind(left, self.kind[rows], self.terms)
            for c in range(q):
                scores[rows] += (self.z[rows, c, None] * by_term) @ pull[:, c]
        return scores


def by_kind(values: Array, kind: Array, terms: Array) -> Array:
    """(n, J): the (n, T) values summed over the terms of each unit's kind."""
    if len(terms) == 1:
        return values @ terms[0]
    out = np.zeros((len(values), terms.shape[2]))
    for k in np.unique(kind):
        rows = kind == k
        out[rows] = values[rows] @ terms[k]
    return out


@alone
def fit(
    y: Array, fitted: Array, kind: Array, terms: Array, z: Array, w: Array, free: Array | None = None
) -> UnitEffects:
    """Fit the regression of the head of this file by weighted least squares.

    Parameters
    ----------
    y : (n, T) outcomes, NaN where there is none.
    fitted : (n, T) bool, the observations to fit; the others get a residual.
    kind : (n,) positions in ``terms`` (K, T, J). z : (n, q) columns, on scales that can be compared.
    w : (n,) non-negative weights of the units.
    free : (J, q) bool, the coefficients to estimate; the others are zero.
    """
    fitted = fitted & np.isfinite(y)
    count = fitted.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        own = np.where(fitted, y, 0.0).sum(axis=1) / count
    centred = y - own[:, None]
    gram, right = _normal(np.where(fitted, centred, 0.0), fitted, kind, terms, z, w * (count > 0))
    J, q = terms.shape[2], z.shape[1]
    size = np.sqrt(np.maximum(np.diag(gram), 0.0))
    live = (size > 1e-12 * size.max(initial=1e-300)) & (True if free is None else free.ravel())
    size = np.where(live, size, 1.0)
    scaled = np.where(np.outer(live, live), gram / np.outer(size, size), 0.0)
    spread, basis = np.linalg.eigh(scaled)
    real = spread > SINGULAR * max(spread.max(initial=0.0), 1e-300)
    basis = basis[:, real]
    inverse = (basis / spread[real]) @ basis.T / np.outer(size, size)
    coefficients = (inverse @ right).reshape(J, q)
    residual = np.empty_like(centred)
    for rows in blocks(len(y)):
        expected = _expected(coefficients, kind[rows], terms, z[rows])
        with np.errstate(invalid="ignore", divide="ignore"):
            middle = np.where(fitted[rows], expected, 0.0).sum(axis=1) / count[rows]
        residual[rows] = centred[rows] - (expected - middle[:, None])
    return UnitEffects(coefficients, residual, fitted, np.asarray(w, float), kind, terms, z, inverse, basis, size)


def _expected(coefficients: Array, kind: Array, terms: Array, z: Array) -> Array:
    """(n, T): what the terms explain."""
    slopes = z @ coefficients.T
    if len(terms) == 1:
        return slopes @ terms[0].T
    out = np.zeros((len(z), terms.shape[1]))
    for k in np.unique(kind):
        rows = kind == k
        out[rows] = slopes[rows] @ terms[k].T
    return out


def _normal(y: Array, seen: Array, kind: Array, terms: Array, z: Array, w: Array) -> tuple[Array, Array]:
    """The normal equations with unit effects taken out: (J q, J q) and (J q,)."""
    pattern, first = patterns(kind, seen)
    J, q = terms.shape[2], z.shape[1]
    order = np.argsort(pattern, kind="stable")
    starts = np.searchsorted(pattern[order], np.arange(len(first)))
    ends = np.append(starts[1:], len(order))
    gram, right = np.zeros((J, q, J, q)), np.zeros((J, q))
    many = len(first) > len(order) // 8
    for some in [slice(None)] if not many else blocks(len(first)):
        lead = first[some]
        mask = seen[lead][:, :, None].astype(float)
        own = terms[kind[lead]] * mask
        within = own - mask * (own.sum(axis=1) / np.maximum(mask.sum(axis=1), 1.0))[:, None]
        low, high = starts[some][0], ends[some][-1]
        rows = order[low:high]
        begin = starts[some] - low
        weighted = w[rows, None] * z[rows]
        moments = (
            np.add.reduceat(weighted[:, :, None] * z[rows][:, None, :], begin)
            if many
            else _by_part(weighted, z[rows], begin)
        )
        cross = (
            np.add.reduceat(weighted[:, :, None] * y[rows][:, None, :], begin)
            if many
            else _by_part(weighted, y[rows], begin)
        )
        gram += np.einsum("kab,kij->iajb", moments, own.transpose(0, 2, 1) @ within, optimize=True)
        right += np.einsum("kat,ktj->ja", cross, within, optimize=True)
    return gram.reshape(J * q, J * q), right.ravel()


def _by_part(a: Array, b: Array, begin: Array) -> Array:
    """(K, p, q): a'b over each run of rows."""
    ends = np.append(begin[1:], len(a))
    return np.stack([a[s:e].T @ b[s:e] for s, e in zip(begin, ends, strict=True)])


def patterns(kind: Array, seen: Array) -> tuple[Array, Array]:
    """(n,) codes of units of one kind that were seen in the same periods, and the first unit of each code."""
    code = np.unique(kind, return_inverse=True)[1].astype(np.int64)
    if not seen.all():
        for start in range(0, seen.shape[1], 40):
            part = seen[:, start : start + 40].astype(np.int64) @ (1 << np.arange(min(40, seen.shape[1] - start)))
            _, part = np.unique(part, return_inverse=True)
            _, code = np.unique(code * (part.max() + 1) + part, return_inverse=True)
    _, first, code = np.unique(code, return_index=True, return_inverse=True)
    return code, first
