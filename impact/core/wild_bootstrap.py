"""The wild cluster bootstrap of one coefficient, restricted to the hypothesis that is tested.

For the coefficient tau of treatment in a weighted regression, with the hypothesis tau = tau0 imposed:

    y*_i = fitted_i(tau0) + v_g u_i(tau0),        v_g drawn by cluster,

where u are the residuals under the hypothesis. The t statistic of each draw is compared with the one
found. Everything is computed from sums by cluster, and these are linear in tau0, so that intervals by
inversion cost little (Roodman, MacKinnon, Nielsen and Webb 2019).

References: cameron2008, roodman2019, mackinnon2018, webb2023.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from impact.core.permutation import Partial, blocks

Array = np.ndarray

WEBB = np.array([-np.sqrt(1.5), -1.0, -np.sqrt(0.5), np.sqrt(0.5), 1.0, np.sqrt(1.5)])
FEW = 12
"""With fewer clusters than this two-point draws repeat themselves, and Webb's six points are drawn."""


class Wild(NamedTuple):
    """The estimate with its cluster-robust error, and each draw's statistic as a function of tau0.

    The numerator is ``number @ (1, tau0)``, the squared denominator ``spread @ (1, tau0, tau0^2)``.
    """

    value: float
    std_error: float
    number: Array
    spread: Array

    def statistics(self, null: float) -> Array:
        """(draws,) the bootstrap's t statistics under tau0 = ``null``."""
        number = self.number @ np.array([1.0, null])
        spread = self.spread @ np.array([1.0, null, null**2])
        with np.errstate(divide="ignore", invalid="ignore"):
            found = number / np.sqrt(np.maximum(spread, 0.0))
        return np.where(np.isnan(found), 0.0, found)

    def p_value(self, null: float) -> float:
        """How often a draw's statistic is at least as large as the one found."""
        found = abs(self.value - null) / self.std_error
        return float((1 + (np.abs(self.statistics(null)) >= found * (1 - 1e-9)).sum()) / (len(self.number) + 1))

    def interval(self, level: float, *, farthest: float = 200.0) -> tuple[float, float]:
        """The effects around the estimate that are not rejected; infinite if none within 200 errors is."""
        return self._limit(-1.0, level, farthest), self._limit(1.0, level, farthest)

    def _limit(self, side: float, level: float, farthest: float) -> float:
        """Go out until an effect is rejected, then halve."""
        inside, outside = 0.0, 1.0
        while self.p_value(self.value + side * outside * self.std_error) > 1 - level:
            inside, outside = outside, 1.25 * outside
            if outside > farthest:
                return side * np.inf
        for _ in range(40):
            middle = (inside + outside) / 2
            kept = self.p_value(self.value + side * middle * self.std_error) > 1 - level
            inside, outside = (middle, outside) if kept else (inside, middle)
        return self.value + side * inside * self.std_error


def wild(
    outcome: Array,
    treated: Array,
    weights: Array,
    covariates: Array,
    cluster: Array,
    draws: int,
    rng: np.random.Generator,
    *,
    finer: Array | None = None,
) -> Wild:
    """The restricted wild cluster bootstrap of treatment's coefficient.

    Signs are drawn by lot, or Webb's six points where there are fewer than twelve to draw.

    Parameters
    ----------
    outcome, treated, weights, cluster : (n,); clusters coded from 0 without gaps
    covariates : (n, p), without intercept
    finer : (n,), optional
        Codes of the subclusters that the draws are made by; errors are always by ``cluster``.
    """
    partial = Partial.of(covariates, weights)
    rests = np.column_stack([partial.rest(outcome), partial.rest(treated.astype(float))])
    y, d = rests.T
    groups = int(cluster.max()) + 1
    scale = float(d @ d)
    value = float(y @ d / scale)
    correction = groups / (groups - 1)
    own = _sums(d * (y - value * d), cluster, groups)
    std_error = float(np.sqrt(correction * (own**2).sum()) / scale)
    drawn = cluster if finer is None else finer
    sums = _Sums.of(partial, rests, d, cluster, drawn)
    parts = int(drawn.max()) + 1
    found = [sums.draw(_signs(len(some), parts, rng)) for some in blocks(np.arange(draws), parts)]
    number, squares = (np.vstack([f[k] for f in found]) for k in (0, 1))
    return Wild(value, std_error, number * np.array([1.0, -1.0]), correction * squares / scale**2)


class _Sums(NamedTuple):
    """What the draws need, by cluster: residuals under the hypothesis are y - tau0 d, and both are carried at once."""

    scores: list[Any]  # two sparse (subclusters, groups): d times y, and d times d
    total: Array  # (subclusters, 2) the same, summed
    basis: list[Array]  # (subclusters, 1 + p) intercept and covariates times y and d
    load: Array  # (groups, 1 + p) intercept and covariates times d
    weight: Array  # (groups,) d squared
    scale: float

    @classmethod
    def of(cls, partial: Partial, rests: Array, d: Array, cluster: Array, drawn: Array) -> _Sums:
        from scipy.sparse import csr_array

        groups, parts = int(cluster.max()) + 1, int(drawn.max()) + 1
        scores = d[:, None] * rests
        by = [csr_array((scores[:, k], (drawn, cluster)), shape=(parts, groups)) for k in (0, 1)]
        basis = [_sums(partial.basis * rests[:, [k]], drawn, parts) for k in (0, 1)]
        load = _sums(d[:, None] * partial.basis, cluster, groups)
        own = _sums(scores, drawn, parts)
        return cls(by, own, basis, load, _sums(d * d, cluster, groups), float(d @ d))

    def draw(self, signs: Array) -> tuple[Array, Array]:
        """The numerators (draws, 2), and the squares (draws, 3) of the clusters' scores, as they go with tau0."""
        number = signs @ self.total / self.scale
        first, second = (
            np.asarray(signs @ self.scores[k]) - (signs @ self.basis[k]) @ self.load.T - number[:, [k]] * self.weight
            for k in (0, 1)
        )
        return number, np.column_stack(
            [(first**2).sum(axis=1), -2 * (first * second).sum(axis=1), (second**2).sum(axis=1)]
        )


def _signs(draws: int, groups: int, rng: np.random.Generator) -> Array:
    if groups < FEW:
        return rng.choice(WEBB, (draws, groups))
    return rng.integers(0, 2, (draws, groups)) * 2.0 - 1.0


def _sums(values: Array, code: Array, groups: int) -> Array:
    total = np.zeros((groups, *values.shape[1:]))
    np.add.at(total, code, values)
    return total
