"""What a test of trends before adoption would have missed, and what that does to those who pass it."""

from __future__ import annotations

from typing import Any

import numpy as np

from impact.check import Check
from impact.checks import paths
from impact.core import arguments
from impact.core.pretest import Pretest, together
from impact.estimate import Estimate
from impact.show import digits

Array = np.ndarray

TESTS = ("joint", "each")
SHORT = 0.05  # by how much less than stated an interval may cover before it misleads


def missed_trend(
    path: Estimate,
    *,
    power: float = 0.5,
    slope: float | None = None,
    pretest: str = "joint",
    anticipation: float = 0,
    level: float = 0.05,
) -> Check:
    """Where estimates and intervals would lie in studies that pass a test of trends though trends diverge.

    Let trends diverge by ``slope`` a period, or by as much as the test finds with the given ``power``. Studies that
    pass the test are a selection of all, and since effects before and after adoption are correlated,

        E[b_after | passed] = bias + C' V^-1 (E[b_before | passed] - E[b_before]),

    with V the covariance of the effects before adoption and C that of them with the effect after (Roth). Their mean may
    be nearer to the truth than without the test, or further from it.

    **Assumptions**: the values are about normal around the divergence, with the covariance that is given; nobody reacts
    earlier than ``anticipation`` periods before adoption.

    Parameters
    ----------
    path : Estimate
        Differences over ``time`` since adoption, as from an event study.
    power : float
        How often the test finds the divergence that is looked at.
    slope : number, optional
        The divergence per period, in the outcome's unit, instead.
    pretest : ``"joint"`` or ``"each"``
        Studies are dropped if the effects before adoption differ from zero jointly, or if any of them does by
        itself, which is what readers of a figure do.
    anticipation : number
        Periods before adoption in which units may already react; these are not tested.
    level : float
        Of the test, and one less the confidence of the intervals.

    Returns
    -------
    Check
        For each time: the estimate with its interval, the divergence (``trend``), the mean of the estimates of those
        who pass if nothing but the divergence is there (``trend_passed``), and how often their intervals hold the
        effect.

    Raises
    ------
    ValueError
        The estimate is not one path over time; there are too few clusters for the effects before adoption.

    **References**: roth2022.

    Examples
    --------
    >>> from impact import Estimate
    >>> from impact.checks.missed_trend import missed_trend
    >>> error = [[0.02, 0.01, 0.01, 0.01], [0.01, 0.02, 0.01, 0.01], [0.01, 0.01, 0.02, 0.01], [0.01, 0.01, 0.01, 0.02]]
    >>> path = Estimate.of_covariance({"time": [-3, -2, 0, 1]}, [0.1, -0.1, 1.0, 1.1], error)
    >>> table = missed_trend(path, power=0.5).tidy().query("time >= 0")
    >>> table[["time", "trend", "trend_passed", "coverage"]].round(2).values.tolist()
    [[0.0, 0.16, 0.21, 0.7], [1.0, 0.31, 0.37, 0.24]]
    """
    arguments.number(power, "power", above=0, below=1)
    arguments.number(slope, "slope", above=-np.inf, below=np.inf, optional=True)
    arguments.option(pretest, "pretest", TESTS)
    arguments.number(anticipation, "anticipation", least=0)
    arguments.number(level, "level", above=0, most=0.5)
    age = paths.ages(path)
    early = np.flatnonzero((age < -anticipation) & ~(path.std_error == 0))
    claim = (
        "Studies that pass the test of trends have intervals after adoption that hold the effect as often as they say"
    )
    about: dict[str, Any] = {"kind": "path", "percent": path.percent, "references": ("roth2022",)}
    about["options"] = {"xlabel": path.axes.get("time"), "ylabel": path.axes.get("estimate")}
    steady = paths.steady(path, early, anticipation)
    late = np.flatnonzero((age >= -anticipation) & np.isfinite(path.std_error) & (path.std_error > 0))
    if steady is None or not len(late):
        lacking = "after adoption" if len(early) else "before adoption"
        reason = f"It cannot be decided: of the {len(age)} effects none {lacking} has an error that could be looked at."
        return Check(claim, path.tidy(1 - level), reason=reason, **about)
    test = Pretest(path.vcov[np.ix_(early, early)], level, together(path.dfs[early]), pretest == "each")
    if not test.rest > 0:
        raise ValueError(
            f"There are {len(early)} effects before adoption with {test.df:.0f} degrees of freedom, too few to test "
            "them jointly: choose fewer times by `where`, or make clusters finer."
        )
    size = test.slope(steady.before, power) if slope is None else float(slope)
    if np.isnan(size):
        reason = f"It cannot be decided: the test finds no steady divergence with {power:.0%} power, or finds each one."
        return Check(claim, path.tidy(1 - level), reason=reason, **about)
    trend, passed, coverage = _after(path, test, steady, late, age, size, level)
    table = path.tidy(1 - level).drop(columns=["statistic", "p_value"], errors="ignore")
    table = table.assign(trend=trend, trend_passed=passed, coverage=coverage)
    found = test.power(size * steady.before)
    worst = int(late[np.argmin(coverage[late])])
    return Check(
        claim,
        table,
        True if coverage[worst] >= 1 - level - SHORT else None,
        reason=_reason(path, size, found, trend, passed, coverage, worst, age, level),
        notes=(
            "Whether a divergence like this is plausible is not for the data before adoption to say: they would often "
            "not have shown it.",
        ),
        **about,
    )


def _after(
    path: Estimate, test: Pretest, steady: paths.Steady, late: Array, age: Array, size: float, level: float
) -> tuple[Array, Array, Array]:
    """The divergence at each value, the mean of those who pass, and the coverage of their intervals after adoption."""
    start = steady.last - steady.reach
    trend, coverage = size * (age - start), np.full(len(age), np.nan)
    trend[steady.early] = size * steady.before
    passed = trend.copy()
    passed[steady.early] = test.passed(size * steady.before)
    low, high = path.interval(1 - level)
    for at in late:
        cross, variance = path.vcov[steady.early, at], float(path.vcov[at, at])
        reach = float(high[at] - low[at]) / 2
        passed[at], coverage[at] = test.after(size * steady.before, float(trend[at]), cross, variance, reach)
    return trend, passed, coverage


def _reason(
    path: Estimate, size: float, found: float, trend: Array, passed: Array, coverage: Array, worst: int, age: Array,
    level: float,
) -> str:  # fmt: skip
    unit, by = (" percentage points", 100.0) if path.percent else ("", 1.0)
    places = digits.decimals([by * size])
    said = [digits.fixed(by * v, places) + unit for v in (size, trend[worst], passed[worst])]
    return (
        f"The test finds a steady divergence of {said[0]} a period {100 * found:.0f}% of the time. It adds "
        f"{said[1]} to {paths.named(path, float(age[worst]))}, {said[2]} on average in studies that pass, whose "
        f"{100 * (1 - level):g}% intervals hold the effect {100 * coverage[worst]:.0f}% of the time."
    )
