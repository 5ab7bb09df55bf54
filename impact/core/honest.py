"""Intervals for an effect when trends may diverge, and the divergence at which they first hold zero.

An event study has (K + T,) values: K before its reference period, in which the effect is zero by construction, and T
after. The effect asked about is ``weights @ values[K:]``.

References: rambachan2023.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from impact.core import honest_restrictions, honest_smooth, moment_inequalities

Array = np.ndarray

RESTRICTIONS = {
    "relative": honest_restrictions.relative,
    "smooth": honest_restrictions.smooth,
    "relative_smooth": honest_restrictions.relative_smooth,
}
SHAPES = ("positive", "negative", "increasing", "decreasing")
_FARTHEST = 2.0**40  # times the first step, in the search for the breakdown value


class Interval(NamedTuple):
    """What is estimated, where the method has an estimate of its own, and both ends."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Honest:
    """An event study and a restriction on how trends may diverge after its reference period.

    ``fixed`` asks for the shortest interval of fixed length, which there is for smooth divergence of any
    sign; otherwise intervals are of what the conditional test does not reject.
    """

    value: Array
    vcov: Array
    before: int
    weights: Array
    restriction: str = "relative"
    shape: str = ""
    fixed: bool = False
    level: float = 0.05

    @cached_property
    def _frontier(self) -> honest_smooth.Frontier:
        return honest_smooth.frontier(self.vcov, self.before, self.weights)

    @cached_property
    def _rays(self) -> Array:
        first, _ = next(iter(RESTRICTIONS[self.restriction](self.before, len(self.weights), 1.0, self.shape)))
        return moment_inequalities.rays(first[:, self.before :], self.weights)

    def _sets(self, most: float) -> list[moment_inequalities.Moments]:
        return [
            moment_inequalities.moments(self._rays, rows, bound, self.value, self.vcov, self.weights)
            for rows, bound in RESTRICTIONS[self.restriction](self.before, len(self.weights), most, self.shape)
        ]

    def interval(self, most: float) -> Interval:
        """The interval if trends diverge by at most ``most``; the conditional one spans the union of its sets."""
        if self.fixed:
            estimate, half, _ = honest_smooth.interval(self._frontier, self.value, most, self.level)
            return Interval(estimate, estimate - half, estimate + half)
        sets = [(of, moment_inequalities.least_favourable(of.spread, self.level / 10)) for of in self._sets(most)]
        reach = np.array([moment_inequalities.reach(of, first) for of, first in sets])
        low, high = np.nan, np.nan
        for k in np.argsort(reach[:, 0] - reach[:, 1]):  # the widest first: they may make others idle
            if not np.isnan(reach[k, 0]) and not (low <= reach[k, 0] and reach[k, 1] <= high):
                ends = moment_inequalities.accepted(sets[k][0], self.level, sets[k][1])
                low, high = float(np.fmin(low, ends[0])), float(np.fmax(high, ends[1]))
        return Interval(float(self.weights @ self.value[self.before :]), low, high)

    def excludes_zero(self, most: float) -> bool:
        """Whether an effect of zero is rejected if trends diverge by at most ``most``."""
        if self.fixed:
            estimate, half, _ = honest_smooth.interval(self._frontier, self.value, most, self.level)
            return abs(estimate) > half
        zero = np.zeros(1)
        for of in self._sets(most):
            first = moment_inequalities.least_favourable(of.spread, self.level / 10)
            if not moment_inequalities.rejected(of, zero, self.level, first)[0]:
                return False
        return True

    def breakdown(self, step: float) -> float:
        """The largest divergence up to which zero is excluded, to six digits.

        NaN if zero is not excluded even without any; infinite if it is at every divergence tried.
        The search doubles ``step`` until zero comes in, so that what it finds is the first such place.
        """
        if not self.excludes_zero(0.0):
            return np.nan
        low, high = 0.0, step
        while self.excludes_zero(high):
            low, high = high, 2 * high
            if high > _FARTHEST * step:
                return np.inf
        while high - low > 1e-6 * high:
            middle = (low + high) / 2
            low, high = (middle, high) if self.excludes_zero(middle) else (low, middle)
        return low
