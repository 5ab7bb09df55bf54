"""Absorbing fixed effects: what is left of columns once units, periods and the like have their own constants.

Weighted least squares on dummies without ever making them. The effect with the most levels goes by
weighted means; the others by the normal equations that remain (a Schur complement), which for periods
is a system as small as their number. The answer is that of the regression on all dummies, to rounding.

References: frisch1933.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from impact.core.threads import alone

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Array = np.ndarray

DENSE = 1500
"""Up to so many levels of the effects after the first, their equations are solved outright; beyond, by iteration."""

NEGLIGIBLE = 1e-11
"""Directions of the remaining equations below this share of the largest do not exist: an effect already counted."""


def codes(labels: Array) -> tuple[Array, int]:
    """Labels as integers from 0 without gaps, and how many there are."""
    labels = np.asarray(labels)
    if labels.dtype.kind in "iu" and len(labels):
        low, span = int(labels.min()), int(labels.max()) - int(labels.min()) + 1
        if span <= 4 * len(labels):
            there = np.zeros(span, bool)
            there[labels - low] = True
            return (np.cumsum(there) - 1)[labels - low], int(there.sum())
    found, inverse = np.unique(labels, return_inverse=True)
    return inverse, len(found)


def totals(columns: Array, code: Array, levels: int) -> Array:
    """(levels, k): the columns summed by code; (levels,) for a single column."""
    if columns.ndim == 1:
        return np.bincount(code, columns, levels)
    return np.asarray(summing(code, levels) @ columns)


def summing(code: Array, levels: int, w: Array | None = None) -> csr_array:
    """(levels, N) sparse: what sums rows by code, with weights."""
    from scipy.sparse import csc_array

    ones = np.ones(len(code)) if w is None else w
    return csc_array((ones, code, np.arange(len(code) + 1)), shape=(levels, len(code))).tocsr()


class Absorber:
    """Takes fixed effects out of columns, with weights.

    Parameters
    ----------
    effects : one (N,) array of labels for each effect.
    w : (N,) positive weights.

    Attributes
    ----------
    rank : the number of constants that all effects together amount to.
    """

    def __init__(self, effects: Sequence[Array], w: Array) -> None:
        coded = sorted((codes(e) for e in effects), key=lambda pair: -pair[1])
        self.w = w
        self.first, self.levels = coded[0] if coded else (np.zeros(len(w), int), 0)
        self.weight = np.bincount(self.first, w, max(self.levels, 1))
        self.by_first = summing(self.first, self.levels, w)
        self.rest = coded[1:]
        self.rank = self.levels
        self.inverse: Array | None = None
        if self.rest:
            self._prepare()

    def _prepare(self) -> None:
        from scipy.sparse import csr_array, vstack

        w = self.w
        self.dummies = csr_array(vstack([summing(c, levels) for c, levels in self.rest]).T)
        self.cross = csr_array(self.by_first @ self.dummies)
        scaled = csr_array(self.cross.multiply((1 / self.weight)[:, None]))
        weighted = csr_array(self.dummies.multiply(w[:, None]))
        left = csr_array(self.dummies.T @ weighted) - csr_array(self.cross.T @ scaled)
        self.own = np.asarray(self.dummies.T @ w)
        if self.dummies.shape[1] <= DENSE:
            self._solve_outright(left.toarray())
        else:
            self.left = left
            self.rank += self.dummies.shape[1] - self._components()

    def _solve_outright(self, left: Array) -> None:
        # On the scale of a level's own weight, so that rare levels are not mistaken for none.
        scale = 1 / np.sqrt(self.own)
        size, basis = np.linalg.eigh(left * scale * scale[:, None])
        real = size > NEGLIGIBLE * max(size.max(initial=0.0), 1e-300)
        half = scale[:, None] * basis[:, real] / np.sqrt(size[real])
        self.inverse = half @ half.T
        self.rank += int(real.sum())

    def _components(self) -> int:
        """With two effects: the separate sets of levels, in each of which one constant is counted twice."""
        from scipy.sparse import block_array
        from scipy.sparse.csgraph import connected_components

        both = block_array([[None, self.cross], [self.cross.T, None]])
        return int(connected_components(both, directed=False)[0]) + len(self.rest) - 1

    @alone
    def residual(self, columns: Array) -> Array:
        """(N, k): the columns less what the effects explain of them."""
        out = self._less_first(np.asarray(columns, float))
        if not self.rest:
            return out
        enough = 1e-14 * np.linalg.norm(self.dummies.T @ (self.w[:, None] * np.abs(out)), axis=0)
        for _ in range(2):  # the second pass removes what rounding, or the iteration, left
            gap = self.dummies.T @ (self.w[:, None] * out)
            if (np.linalg.norm(gap, axis=0) <= 100 * enough).all():
                break
            out -= self.dummies @ self._solved(gap, enough)
            out = self._less_first(out)
        return out

    def _less_first(self, columns: Array) -> Array:
        if not self.levels:
            return columns.copy()
        means = np.asarray(self.by_first @ columns) / self.weight[:, None]
        return np.asarray(columns - means[self.first])

    def _solved(self, gap: Array, enough: Array) -> Array:
        if self.inverse is not None:
            return self.inverse @ gap
        from scipy.sparse import diags_array
        from scipy.sparse.linalg import cg

        precondition = diags_array(1 / self.own)
        out = np.zeros_like(gap)
        for j, right in enumerate(gap.T):
            if np.linalg.norm(right) <= enough[j]:
                continue
            out[:, j], left = cg(self.left, right, rtol=1e-12, atol=enough[j], maxiter=20_000, M=precondition)
            if left:
                raise ValueError(
                    f"The {self.dummies.shape[1]:,} levels of the fixed effects beyond the first could not be solved "
                    "for to 12 digits in 20,000 steps: they are barely connected; use fewer levels."
                )
        return out
