"""Inference with few treated groups from the groups that were not treated.

With few treated groups the error of a difference in differences is theirs alone, and does not average
out. Its distribution can be read off untreated groups, if their errors are alike (Conley and Taber
2011), or alike once their size is taken account of (Ferman and Pinto 2019).

References: conley2011, ferman2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Donors(NamedTuple):
    """Untreated groups that stand for one treated group: their (m,) mean residuals and (m,) sizes.

    Groups may overlap; ``apart`` is how many there would be without. None: they do not.
    """

    errors: Array
    size: Array
    apart: int | None = None

    @property
    def worth(self) -> int:
        return len(self.errors) if self.apart is None else self.apart


class Variance(NamedTuple):
    """Var = base + per / size, neither negative."""

    base: float
    per: float

    def at(self, size: Array) -> Array:
        return self.base + self.per / np.asarray(size, float)


def drawn_errors(
    donors: Sequence[Donors], share: Array, draws: int, rng: np.random.Generator, *, own: Array | None = None
) -> Array:
    """(draws,) errors that the estimate might have had.

    Each treated group's error is that of one of its donors, drawn by lot, and the estimate's is their
    average. How far donors stray is itself known from n donors only: as Student did, errors are multiplied by
    the root of (n - 1) / chi-squared(n - 1), one draw for all groups with as many donors. With ``own`` sizes
    of the treated groups, donors' errors are first scaled to the variance of a group of that size.

    Parameters
    ----------
    donors : for each treated group
    share : (a,) weight of each treated group in the estimate, summing to one
    own : (a,) sizes of the treated groups, optional
    """
    variance = None if own is None else fitted_variance(donors)
    total = np.zeros(draws)
    student = {n: np.sqrt((n - 1) / rng.chisquare(n - 1, draws)) for n in sorted({pool.worth for pool in donors})}
    for k, pool in enumerate(donors):
        errors = pool.errors
        if variance is not None and own is not None:
            errors = errors * np.sqrt(variance.at(own[k]) / variance.at(pool.size))
        total += share[k] * errors[rng.integers(0, len(errors), draws)] * student[pool.worth]
    return total


def fitted_variance(donors: Sequence[Donors]) -> Variance:
    """The variance of groups' errors as a function of their size, by least squares on the squared errors."""
    squared = np.concatenate([d.errors**2 for d in donors])
    inverse = 1.0 / np.concatenate([d.size for d in donors])
    spread = inverse - inverse.mean()
    per = float(spread @ squared / (spread @ spread)) if spread @ spread > 0 else 0.0
    base = float(squared.mean() - per * inverse.mean())
    if per < 0:  # larger groups are not noisier: then size does not matter
        return Variance(float(squared.mean()), 0.0)
    if base < 0:
        return Variance(0.0, float(squared @ inverse / (inverse @ inverse)))
    return Variance(base, per)


def equal_tails(value: float, errors: Array, null: float) -> float:
    """Twice the smaller share of errors beyond ``value - null``, counting what was found as one of the draws."""
    gap = value - null
    beyond = min((errors >= gap).sum(), (errors <= gap).sum())
    return float(min(1.0, 2 * (1 + beyond) / (len(errors) + 1)))


def inverted(value: float, errors: Array, level: float) -> tuple[float, float]:
    """The effects that :func:`equal_tails` does not reject."""
    order = np.sort(errors)
    allowed = int(np.floor((1 - level) / 2 * (len(order) + 1) + 1e-9))
    if allowed < 1:
        return -np.inf, np.inf
    return value - float(order[-allowed]), value - float(order[allowed - 1])
