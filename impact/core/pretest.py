"""What a test of trends before adoption misses, and what the estimates look like of those who pass it.

The k effects before adoption are normal around a divergence with covariance V. The test rejects if they differ from
zero jointly (Hotelling's), or if any of them does (``each``). An effect after adoption is correlated with them, so that
those who pass the test are a selection: their bias is not that of everybody.

For the joint test, given that ``x'x <= c`` for x normal around m with unit covariance, the mean of x is m times the
chance that a noncentral chi-square with k + 2 degrees of freedom is at most c, over that with k. For the other there
is simulation with a fixed seed.

References: roth2022, hotelling1931.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

Array = np.ndarray

SEED = 20220901
DRAWS = 100_000
_HUGE = 1e3  # a noncentrality that a test finds, if it finds anything


def together(degrees: Array) -> float:
    """Degrees of freedom of several values tested at once: the harmonic mean of their own.

    Effects of early adopters and late ones rest on different units, some on few. The fewest degrees would make the
    test of all of them far too strict, their number overall too lenient.
    """
    with np.errstate(divide="ignore"):
        return float(1 / np.mean(1 / np.asarray(degrees, float)))


@dataclass(frozen=True, eq=False)
class Pretest:
    """A test, at ``level``, of k effects with this covariance, whose errors have ``df`` degrees of freedom."""

    vcov: Array
    level: float = 0.05
    df: float = np.inf
    each: bool = False

    @cached_property
    def rank(self) -> int:
        error = np.sqrt(np.diag(self.vcov))
        return int(np.linalg.matrix_rank(self.vcov / np.outer(error, error), hermitian=True))

    @property
    def rest(self) -> float:
        """Degrees of freedom left for the error of the joint test; with none, there is no test."""
        return self.df + 1 - self.rank

    @cached_property
    def cut(self) -> float:
        """The joint test passes Wald statistics up to here."""
        from scipy import stats

        if np.isinf(self.rest):
            return float(stats.chi2.isf(self.level, self.rank))
        return float(self.rank * self.df / self.rest * stats.f.isf(self.level, self.rank, self.rest))

    @cached_property
    def _critical(self) -> float:
        from scipy import stats

        return float(stats.t.ppf(1 - self.level / 2, self.df))

    @cached_property
    def _inverse(self) -> Array:
        return np.linalg.pinv(self.vcov, hermitian=True)

    @cached_property
    def _draws(self) -> Array:
        root, basis = np.linalg.eigh(self.vcov)
        normal = np.random.Generator(np.random.PCG64(SEED)).standard_normal((DRAWS // 2, len(root)))
        half = normal @ (basis * np.sqrt(np.clip(root, 0, None))).T
        return np.vstack([half, -half])

    def power(self, divergence: Array) -> float:
        """The chance that the test finds this divergence."""
        if self.each:
            return 1 - float(self._passing(divergence).mean())
        return self._found(float(divergence @ self._inverse @ divergence))

    def _found(self, away: float) -> float:
        from scipy import stats

        if away == 0:
            return self.level
        if np.isinf(self.rest):
            return float(stats.ncx2.sf(self.cut, self.rank, away))
        return float(stats.ncf.sf(stats.f.isf(self.level, self.rank, self.rest), self.rank, self.rest, away))

    def _passing(self, divergence: Array) -> Array:
        reach = self._critical * np.sqrt(np.diag(self.vcov))
        return (np.abs(self._draws + divergence) <= reach).all(axis=1)

    def slope(self, line: Array, power: float) -> float:
        """The multiple of a divergence that the test finds with this power; NaN if it finds hardly any."""
        from scipy import optimize

        if not self.rest > 0 or power <= self.power(0 * line):
            return np.nan
        if not self.each:
            if not self._found(_HUGE) > power:
                return np.nan
            needed = optimize.brentq(lambda away: self._found(away) - power, 1e-9, _HUGE)
            return float(np.sqrt(needed / (line @ self._inverse @ line)))
        high = float((np.sqrt(np.diag(self.vcov)) / np.abs(line)).max())
        while self.power(high * line) < power:
            high *= 2
        return float(optimize.brentq(lambda s: self.power(s * line) - power, 0.0, high, xtol=1e-6 * high))

    def passed(self, divergence: Array) -> Array:
        """(k,) the mean of the effects before adoption in studies that pass the test."""
        from scipy import stats

        if self.each:
            kept = self._passing(divergence)
            return divergence + self._draws[kept].mean(axis=0)
        away = float(divergence @ self._inverse @ divergence)
        if away == 0:
            return divergence
        return divergence * stats.ncx2.cdf(self.cut, self.rank + 2, away) / stats.ncx2.cdf(self.cut, self.rank, away)

    def after(self, divergence: Array, bias: float, cross: Array, variance: float, reach: float) -> tuple[float, float]:
        """Bias of an effect after adoption in studies that pass, and how often its interval holds the truth.

        Without the test it is ``bias``; ``cross`` (k,) is its covariance with the effects before, ``reach`` half
        the length of its interval.
        """
        from scipy.special import ndtr

        pull = self._inverse @ cross
        left = np.sqrt(max(variance - float(cross @ pull), 1e-300))
        if self.each:
            mean = bias + self._draws[self._passing(divergence)] @ pull
            share = np.full(len(mean), 1 / len(mean))
        else:
            mean, share = self._along(divergence, bias, pull)
        held = ndtr((reach - mean) / left) - ndtr((-reach - mean) / left)
        return float(share @ mean), float(share @ held)

    def _along(self, divergence: Array, bias: float, pull: Array, points: int = 801) -> tuple[Array, Array]:
        """The effect's mean given the effects before, on a grid along the direction that moves it, and its chances.

        With u along that direction, those who pass have ``u^2`` and a noncentral chi-square for the rest within the
        cut.
        """
        from scipy import stats

        length = float(np.sqrt(pull @ self.vcov @ pull))
        away = float(divergence @ self._inverse @ divergence)
        middle = float(pull @ divergence) / length if length > 0 else 0.0
        edge = np.sqrt(self.cut)
        u = edge * np.sin(np.linspace(-np.pi / 2, np.pi / 2, points))
        room, others = np.maximum(self.cut - u**2, 0), max(away - middle**2, 0.0)
        if self.rank == 1:
            inside = np.ones(points)
        elif others > 1e-12:
            inside = stats.ncx2.cdf(room, self.rank - 1, others)
        else:
            inside = stats.chi2.cdf(room, self.rank - 1)
        weight = np.exp(-((u - middle) ** 2) / 2) * inside * np.cos(np.linspace(-np.pi / 2, np.pi / 2, points))
        return bias + length * (u - middle), weight / weight.sum()
