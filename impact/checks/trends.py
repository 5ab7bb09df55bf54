"""Did the groups move together before treatment?"""

from __future__ import annotations

from typing import Any

import numpy as np

from impact.check import Check
from impact.checks import paths
from impact.checks.paths import Steady
from impact.core import arguments, inference
from impact.core.pretest import Pretest, together
from impact.estimate import Estimate
from impact.show import digits
from impact.show.words import tested

Array = np.ndarray

POWER = 0.8


def parallel_trends(path: Estimate, *, anticipation: float = 0, level: float = 0.05) -> Check:
    """Whether the effects before adoption are all zero, and what divergence such a test would have missed.

    The k effects before adoption are tested jointly. With W their Wald statistic and m degrees of freedom,

        W (m - k + 1) / (k m) is compared with F(k, m - k + 1).

    With many clusters behind each effect m is their number less one; otherwise it is the harmonic mean of the
    effects' own degrees of freedom.

    A test that does not reject is not evidence of parallel trends: it may be too weak, and what was
    parallel before need not have stayed so. The verdict is therefore never "holds". Instead the check
    gives the smallest steady divergence, per period, that the test would have found with 80% power
    (Roth), what a divergence of that size would have added to the last effect of the path, and the largest
    that lies within the band. Of the divergence found half of the time it says how far estimates would be off
    in those studies that pass the test, and how often their intervals would hold the truth;
    :func:`impact.checks.missed_trend.missed_trend` gives that for every effect and any divergence.

    **Assumptions**: effects before adoption are placebos: nobody reacts earlier than ``anticipation``
    periods before adoption.

    Parameters
    ----------
    path : Estimate
        Differences over ``time`` since adoption, as from an event study, or by ``adoption_group`` and
        period.
    anticipation : number
        Periods before adoption in which units may already react; these are not tested.
    level : float
        The test's probability of rejecting parallel trends.

    Returns
    -------
    Check
        With each effect before adoption, its interval, the band that covers all of them, and the
        smallest effect that would have been found with 80% power.

    Raises
    ------
    ValueError
        The estimate is not over time, or is of levels by arm.

    **References**: roth2022; hotelling1931; montielolea2019.
    """
    if not 0 < level < 1:
        raise ValueError(f"A level is between 0 and 1, such as 0.05, not {level!r}.")
    arguments.number(anticipation, "anticipation", least=0)
    age = paths.ages(path)
    before = np.flatnonzero((age < -anticipation) & ~(path.std_error == 0))
    about: dict[str, Any] = {
        "kind": "path",
        "percent": path.percent,
        "options": {"xlabel": path.axes.get("time"), "ylabel": path.axes.get("estimate")},
        "references": ("roth2022", "hotelling1931", "montielolea2019"),
    }
    claim = "Treated and comparison units moved in parallel before adoption"
    if not len(before):
        return Check(
            claim,
            path.tidy(),
            reason=f"It cannot be decided: none of the {len(age)} effects lies before adoption"
            f"{f' less {anticipation:g} periods' if anticipation else ''}, so trends before it are not seen at all.",
            notes=("Add earlier periods to see them.",),
            **about,
        )
    early = path.where(f"index in {before.tolist()}")
    low, high = early.interval(1 - level, simultaneous=True)
    table = early.tidy(1 - level).assign(
        band_low=low, band_high=high, smallest_detectable=early.detectable(POWER, 1 - level)
    )
    df = together(early.dfs)
    passed, verdict = _judged(early, df, level)
    steady = paths.steady(path, before, anticipation)
    pretest = Pretest(early.vcov, level, df)
    return Check(
        claim,
        table,
        passed,
        reason=f"{verdict} {_missed(steady, pretest, path.percent)}".strip(),
        notes=(
            "A test that does not reject is not evidence of parallel trends: read the band, and judge whether a "
            "divergence inside it would change the conclusion.",
            *_compatible(steady, low, high, path.percent),
            *_half(path, steady, pretest, level),
        ),
        **about,
    )


def _judged(early: Estimate, df: float, level: float) -> tuple[bool | None, str]:
    test = inference.hotelling(early.value, early.vcov, df)
    count = f"{len(early.value)} effects before adoption" if len(early.value) > 1 else "The effect before adoption"
    if not np.isfinite(test["p_value"]):
        return None, (
            f"It cannot be decided: {count} cannot be tested jointly with {df:.0f} degrees of freedom."
            if np.isfinite(early.vcov).all()
            else f"It cannot be decided: {count} cannot be tested, for no standard error is known."
        )
    said = f"F({test['df']:.0f}, {test['df_residual']:.0f}) = {test['statistic']:.2f}, {tested(test['p_value'])}"
    if np.isinf(test["df_residual"]):
        said = f"chi-squared({test['df']:.0f}) = {test['wald']:.2f}, {tested(test['p_value'])}"
    if test["p_value"] <= level:
        return False, f"{count} differ from zero by more than chance at {100 * level:g}% ({said})."
    verb = "are" if len(early.value) > 1 else "is"
    return None, f"{count} {verb} not told from zero at {100 * level:g}% ({said})."


def _missed(steady: Steady | None, test: Pretest, percent: bool) -> str:
    """The steady divergence that the joint test finds with 80% power, in words."""
    if steady is None or not test.rest > 0:
        return ""
    slope = test.slope(steady.before, POWER)
    if np.isnan(slope):
        return f"With {test.df:.0f} degrees of freedom the test would hardly have found any divergence."
    size = _Size(slope, percent)
    words = (
        f"A steady divergence of {size(slope)} a period would have been found with {POWER:.0%} power, and a smaller "
        "one more likely missed"
    )
    if steady.last < 0:
        return f"{words}."
    return f"{words}; going on, it would have added {size(slope * steady.reach)} to {steady.words}."


def _half(path: Estimate, steady: Steady | None, test: Pretest, level: float) -> tuple[str, ...]:
    """What half of the studies would have missed, and how those that pass the test then mislead (Roth)."""
    if steady is None or not test.rest > 0 or steady.last < 0 or steady.place is None:
        return ()
    slope = test.slope(steady.before, 0.5)
    if np.isnan(slope):
        return ()
    size, bias, at = _Size(slope, path.percent), slope * steady.reach, steady.place
    critical = float(path.interval(1 - level)[1][at] - path.value[at])
    passed, held = test.after(
        slope * steady.before, bias, path.vcov[steady.early, at], float(path.vcov[at, at]), critical
    )
    return (
        f"Half of the time the test would have missed a steady divergence of {size(slope)} a period. It would have "
        f"added {size(bias)} to {steady.words}, {size(passed)} on average in studies that pass the test, whose "
        f"{100 * (1 - level):g}% intervals would have held the true effect {100 * held:.0f}% of the time.",
    )


def _compatible(steady: Steady | None, low: Array, high: Array, percent: bool) -> tuple[str, ...]:
    """The steady divergence, either way, that lies within the band over all effects before adoption."""
    if steady is None or not (np.isfinite(low) & np.isfinite(high)).all():
        return ()
    ends = np.sort(np.array([low, high]) / steady.before, axis=0)
    least, most = float(ends[0].max()), float(ends[1].min())
    if least > most:
        return ("No steady divergence lies within the band over all effects before adoption.",)
    size = _Size(max(least, most, key=abs), percent)
    words = f"The band is compatible with a steady divergence of {size(least)} to {size(most)} a period"
    added = f"{size(least * steady.reach)} to {size(most * steady.reach)}"
    return (f"{words}." if steady.last < 0 else f"{words}, which would add {added} to {steady.words}.",)


class _Size:
    """Numbers in the outcome's unit, with as many decimals as a slope is read with."""

    def __init__(self, slope: float, percent: bool) -> None:
        self.unit, self.by = (" percentage points", 100.0) if percent else ("", 1.0)
        self.places = digits.decimals([self.by * slope])

    def __call__(self, value: float) -> str:
        return digits.fixed(self.by * value, self.places) + self.unit
