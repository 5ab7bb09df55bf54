"""Two groups before and after: six estimators of the effect on the treated, with the score of each row.

Write d for the treated group, s for "after", w for weights, and r(x) for the odds of being in the treated
group. With both periods of each unit in hand, y is a unit's change; with a row for each observation (repeated
cross-sections), the level. ``LinearFit`` m_as(x) is the regression of y on x in group a (and period s).

    two_way   the coefficient of d s in the regression of y on d, s, d s and x
    reg       the treated's mean less what comparison rows like them are expected to show
    ipw       comparison rows weighted by r / (sum of r): Hajek's form
    abadie    comparison rows weighted by r / (number of treated): Horvitz and Thompson's form
    dr        reg and ipw together: right if either model is; with cross-sections the locally efficient form
    improved  dr with odds that balance the covariates exactly (inverse probability tilting) and regressions
              of comparison rows weighted by them: right if either model is, and so is its standard error

References: santanna2020, abadie2005, graham2012.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from impact.core import balancing
from impact.core.doubly_robust import ratios
from impact.core.linear import LinearFit, coordinates, least_squares
from impact.core.logit import logit
from impact.core.moments import mean, mean_scores

Array = np.ndarray
METHODS = ("dr", "improved", "reg", "ipw", "abadie", "two_way")


class Found(NamedTuple):
    """The effect, (n,) scores, and the columns that make some rows certain of their group."""

    value: float
    scores: Array
    certain: tuple[str, ...]


class Odds(NamedTuple):
    """Odds of being in the treated group, as multipliers of the rows' weights.

    ``carry`` gives the scores of a sum over rows whose derivative in the rows' log odds is given.
    """

    ratio: Array
    slope: Array
    carry: Callable[[Array], Array]
    certain: tuple[str, ...] = ()


def by_logit(d: Array, x: Array, w: Array, names: Sequence[str] | None) -> Odds:
    """Odds from a logistic regression."""
    fit = logit(d, x, w, names)
    ratio, slope = ratios(fit, False, d)
    return Odds(ratio, slope, lambda tilt: fit.carry(fit.design.T @ tilt), fit.separated.names)


def by_tilting(d: Array, x: Array, w: Array) -> Odds:
    """Odds exp(x'g) whose weights give the comparison rows the totals of the treated: of rows and of covariates."""
    where = coordinates(x, w)
    z = where.of(x)
    start = np.zeros(z.shape[1])
    start[0] = np.log((w @ d) / (w @ ~d))
    try:
        found = balancing.dual(z, w * ~d, (w * d) @ z, balancing.ENTROPY, start=start)
    except balancing.Unsettled:
        raise ValueError(
            f"No weights give the {int((~d & (w > 0)).sum())} comparison rows the covariates' means of the "
            f"{int((d & (w > 0)).sum())} treated: some treated are unlike all of them. Leave out covariates, or use "
            "method='dr' or 'reg'."
        ) from None
    influence = found.influence((w * (d - ~d * found.ratio))[:, None] * z)
    return Odds(found.ratio, found.slope, lambda tilt: influence @ (z.T @ tilt))


_Within = tuple[float, LinearFit, bool]


class _Sum:
    """A sum of means, each over its own weights; what they depend on is followed to the scores of the rows."""

    def __init__(self, n: int) -> None:
        self.value, self.scores, self.tilt = 0.0, np.zeros(n), np.zeros(n)
        self.pulls: list[tuple[LinearFit, bool, Array]] = []

    def add(
        self, sign: float, y: Array, v: Array, moves: Array | None = None, *fits: tuple[float, LinearFit, bool]
    ) -> None:
        """Add ``sign`` times the mean of y over v.

        ``moves`` (n,) is the derivative of v in the log odds. Each of ``fits`` is a regression whose prediction is in
        y with the sign given, and whether it is weighted by the odds.
        """
        total = v.sum()
        centre = mean(y, v)
        self.value += sign * float(centre)
        self.scores += sign * mean_scores(y, v)
        if moves is not None:
            self.tilt += sign * moves / total * (y - centre)
        for by, fit, weighted in fits:
            self.pulls.append((fit, weighted, sign * by * (fit.design.T @ (v / total))))

    def found(self, odds: Odds | None) -> Found:
        for fit, weighted, pull in self.pulls:
            part = fit.carry(pull)
            self.scores += part
            if weighted:  # the odds are the weights of the regression, and move it
                self.tilt += part
        if odds is not None:
            self.scores += odds.carry(self.tilt)
        return Found(self.value, self.scores, odds.certain if odds is not None else ())


def changes(y: Array, d: Array, x: Array, w: Array, method: str, names: Sequence[str] | None = None) -> Found:
    """The effect from (n,) changes of units seen before and after, see the head of this file."""
    total = _Sum(len(y))
    odds = _odds(d, x, w, method, names)
    if method == "abadie":
        assert odds is not None
        return _abadie(y, d, np.ones(len(y)), np.zeros(len(y)), np.zeros(len(y)), w, odds)
    total.add(1.0, y, w * d)
    if method == "two_way":
        total.add(-1.0, y, w * ~d)
    elif method == "ipw":
        assert odds is not None
        total.add(-1.0, y, w * ~d * odds.ratio, w * ~d * odds.slope)
    else:
        weighted = method == "improved"
        fit = _regression(y, x, w * ~d * (odds.ratio if weighted and odds else 1.0), "comparison", "")
        total.add(-1.0, y - fit.residual, w * d, None, (1.0, fit, weighted))
        if odds is not None:
            total.add(-1.0, fit.residual, w * ~d * odds.ratio, w * ~d * odds.slope, (-1.0, fit, weighted))
    return total.found(odds)


def levels(
    y: Array, after: Array, d: Array, x: Array, w: Array, method: str, names: Sequence[str] | None = None
) -> Found:
    """The effect from (n,) levels of observations before or after, see the head of this file."""
    if method == "two_way":
        fit = two_way(y, after, d, x, w)
        return Found(*coefficient(fit), ())
    odds = _odds(d, x, w, method, names)
    if method == "abadie":
        assert odds is not None
        share = (w @ after) / w.sum()
        f = np.where(after, 1 / share, -1 / (1 - share))
        df = np.where(after, -1 / share**2, -1 / (1 - share) ** 2)
        return _abadie(y, d, f, df, w * (after - share) / w.sum(), w, odds)
    total = _Sum(len(y))
    sides = ((1.0, after, "after"), (-1.0, ~after, "before"))
    for sign, now, when in sides:
        treated, other = w * (d & now), w * (~d & now)
        if method == "ipw":
            assert odds is not None
            total.add(sign, y, treated)
            total.add(-sign, y, other * odds.ratio, other * odds.slope)
            continue
        weighted = method == "improved"
        fit = _regression(y, x, other * (odds.ratio if weighted and odds else 1.0), "comparison", when)
        if odds is None:  # reg
            total.add(sign, y, treated)
            total.add(-sign, y - fit.residual, w * d, None, (1.0, fit, weighted))
            continue
        total.add(sign, fit.residual, treated, None, (-1.0, fit, weighted))
        total.add(-sign, fit.residual, other * odds.ratio, other * odds.slope, (-1.0, fit, weighted))
        own = _regression(y, x, treated, "treated", when)  # locally efficient: all treated, of both periods
        gap = fit.residual - own.residual
        total.add(sign, gap, w * d, None, (1.0, own, False), (-1.0, fit, weighted))
        total.add(-sign, gap, treated, None, (1.0, own, False), (-1.0, fit, weighted))
    return total.found(odds)


def two_way(y: Array, after: Array, d: Array, x: Array, w: Array) -> LinearFit:
    """The regression of y on d, after, both, and the covariates."""
    return least_squares(y, np.column_stack([d & after, d, after, x]).astype(float), w)


def coefficient(fit: LinearFit) -> tuple[float, Array]:
    """The coefficient of the first column, in its units, with its scores."""
    gradient = np.zeros(len(fit.coefficients))
    gradient[1] = 1 / fit.coordinates.scale[0]
    return float(gradient @ fit.coefficients), fit.carry(gradient)


def observed(fit: LinearFit, errors: str) -> tuple[float, float]:
    """The variance of the first coefficient with independent observations, and its degrees of freedom.

    ``"robust"``: sum of squared scores, times N / (N - 1). ``"conventional"``: one variance for all observations,
    divided by the degrees of freedom.
    """
    n, k = int((fit.weights > 0).sum()), len(fit.coefficients)
    _, scores = coefficient(fit)
    if errors == "robust":
        return float(n / (n - 1) * (scores @ scores)), float(n - 1)
    spread = (fit.weights @ fit.residual**2) / (n - k)
    inverse = np.linalg.inv(fit.root.T @ fit.root)
    return float(spread * inverse[1, 1] / fit.coordinates.scale[0] ** 2), float(n - k)


def _odds(d: Array, x: Array, w: Array, method: str, names: Sequence[str] | None) -> Odds | None:
    if method in ("reg", "two_way"):
        return None
    return by_tilting(d, x, w) if method == "improved" else by_logit(d, x, w, names)


def _regression(y: Array, x: Array, w: Array, group: str, when: str) -> LinearFit:
    try:
        return least_squares(y, x, w)
    except ValueError as refusal:
        raise ValueError(f"Among the {group} units{' ' * bool(when)}{when}: {refusal}") from None


def _abadie(y: Array, d: Array, f: Array, df: Array, share: Array, w: Array, odds: Odds) -> Found:
    """sum w (d - (1 - d) r) f y / sum w d, with f following the share of observations after, whose scores are given."""
    whole = w @ d
    contrast = w * (d - ~d * odds.ratio) * y / whole
    value = float(contrast @ f)
    scores = contrast * f - value * w * d / whole + (contrast @ df) * share
    return Found(value, scores + odds.carry(-w * ~d * odds.slope * f * y / whole), odds.certain)
