"""Errors and degrees of freedom of a contrast of several groups of clusters, any of which may be small.

With two sides this is :class:`impact.core.small_sample.Arms`; a triple difference has four, and the smallest of them
decides how much is known about its error.

References: welch1947, bell2002.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from impact.core.small_sample import FEW

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Corners:
    """The reference of values that add and subtract the means of groups of clusters.

    With n_c clusters in corner c and V_c their part of the covariance, the degrees of freedom are the fewer of

        (sum V_c)^2 / sum V_c^2 / (n_c - 1)    and    (sum 1 / n_c)^2 / sum 1 / (n_c^2 (n_c - 1)),

    and with fewer than twenty clusters in any corner each part is multiplied by n_c / (n_c - 1), else all by
    G / (G - 1). In all but the first corner covariates that were ``fitted`` are taken off n_c - 1 too. With one
    cluster in a corner there is no error: it is NaN.

    ``sums`` (G, k) are the scores by cluster, and ``corner`` (G, k) the corner of each cluster for each value, -1 for
    none.
    """

    sums: Array
    corner: Array
    fitted: int = 0

    @cached_property
    def counts(self) -> Array:
        """(C, k) clusters in each corner."""
        return np.array([(self.corner == c).sum(axis=0) for c in range(int(self.corner.max(initial=0)) + 1)])

    @cached_property
    def _left(self) -> Array:
        spent = np.where(np.arange(len(self.counts)) == 0, 1, 1 + self.fitted)[:, None]
        left = (self.counts - spent).astype(float)
        return np.where(left < 1, np.nan, left)

    @cached_property
    def adjusted(self) -> Array:
        groups = len(self.sums)
        many = (self.counts >= FEW).all(axis=0)
        factor = np.where(many, groups / (groups - 1), self.counts / self._left)
        own = np.take_along_axis(factor, np.maximum(self.corner, 0), axis=0)
        return self.sums * np.sqrt(np.where(self.corner < 0, groups / (groups - 1), own))

    @cached_property
    def degrees(self) -> Array:
        square = self.adjusted**2
        parts = np.array([(square * (self.corner == c)).sum(axis=0) for c in range(len(self.counts))])
        with np.errstate(invalid="ignore", divide="ignore"):
            welch = parts.sum(axis=0) ** 2 / np.where(parts > 0, parts**2 / self._left, 0.0).sum(axis=0)
            alike = (1 / self.counts).sum(axis=0) ** 2 / (1 / self.counts**2 / self._left).sum(axis=0)
        return np.where(parts.sum(axis=0) > 0, np.minimum(welch, alike), len(self.sums) - 1.0)

    def carry(self, jacobian: Array) -> Corners:
        """The corners of combinations: a cluster is where the first value it has a part in puts it."""
        corner = np.full((len(self.sums), len(jacobian)), -1)
        for m, row in enumerate(jacobian):
            for k in np.flatnonzero(row)[::-1]:
                corner[:, m] = np.where(self.corner[:, k] >= 0, self.corner[:, k], corner[:, m])
        return Corners(self.sums @ jacobian.T, corner, self.fitted)
