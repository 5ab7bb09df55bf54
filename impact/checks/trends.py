"""Did the groups move together before treatment?"""

from __future__ import annotations

from typing import Any

import numpy as np

from impact.check import Check
from impact.checks.paths import ages
from impact.core import arguments
from impact.estimate import Estimate
from impact.show import digits
from impact.show.words import tested

Array = np.ndarray

POWER = 0.8
_HUGE = 1e3  # a noncentrality that a test finds, if it finds anything


def parallel_trends(path: Estimate, *, anticipation: float = 0, level: float = 0.05) -> Check:
    """Whether the effects before adoption are all zero, and what divergence such a test would have missed.

    The k effects before adoption are tested jointly. With W their Wald statistic and G clusters,

        W (G - k) / (k (G - 1)) is compared with F(k, G - k).

    A test that does not reject is not evidence of parallel trends: it may be too weak, and what was
    parallel before need not have stayed so. The verdict is therefore never "holds". Instead the check
    gives the smallest steady divergence, per period, that the test would have found with 80% power
    (Roth), and what a divergence of that size would have added to the last effect of the path.

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
    age = ages(path)
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
    test = early.test()
    passed, verdict = _judged(early, test, level)
    missed = _missed(path, early, age, age[before], anticipation, level)
    return Check(
        claim,
        table,
        passed,
        reason=f"{verdict} {missed}".strip(),
        notes=(
            "A test that does not reject is not evidence of parallel trends: read the band, and judge whether a "
            "divergence inside it would change the conclusion.",
        ),
        **about,
    )


def _judged(early: Estimate, test: dict[str, float], level: float) -> tuple[bool | None, str]:
    count = f"{len(early.value)} effects before adoption" if len(early.value) > 1 else "The effect before adoption"
    if not np.isfinite(test["p_value"]):
        known = np.isfinite(early.df)
        return None, (
            f"It cannot be decided: {count} cannot be tested jointly with {early.df + 1:.0f} independent clusters."
            if known
            else f"It cannot be decided: {count} cannot be tested, for no standard error is known."
        )
    said = f"F({test['df']:.0f}, {test['df_residual']:.0f}) = {test['statistic']:.2f}, {tested(test['p_value'])}"
    if np.isinf(test["df_residual"]):
        said = f"chi-squared({test['df']:.0f}) = {test['wald']:.2f}, {tested(test['p_value'])}"
    if test["p_value"] <= level:
        return False, f"{count} differ from zero by more than chance at {100 * level:g}% ({said})."
    verb = "are" if len(early.value) > 1 else "is"
    return None, f"{count} {verb} not told from zero at {100 * level:g}% ({said})."


def _missed(path: Estimate, early: Estimate, age: Array, early_age: Array, anticipation: float, level: float) -> str:
    """The steady divergence that the joint test finds with 80% power, in words."""
    from scipy import optimize, stats

    if "outcome" in path.index and path.index["outcome"].nunique() > 1:
        return ""  # one divergence for outcomes in different units would mean nothing
    if not np.isfinite(early.vcov).all():
        return ""
    k = int(np.linalg.matrix_rank(early.vcov, hermitian=True))
    rest = early.df + 1 - k
    if not rest > 0:
        return ""
    step = float(np.min(np.diff(np.unique(age)), initial=np.inf))
    step = step if np.isfinite(step) else 1.0
    start = -anticipation - step
    # With the period before adoption among the effects, each is a change over one period; without it,
    # all are measured from that period.
    each = np.full(len(early_age), step) if np.isclose(early_age, start).any() else early_age - start
    pull = float(each @ np.linalg.pinv(early.vcov, hermitian=True) @ each)

    def power(ncp: float) -> float:
        if np.isinf(rest):
            return float(stats.ncx2.sf(stats.chi2.isf(level, k), k, ncp))
        return float(stats.ncf.sf(stats.f.isf(level, k, rest), k, rest, ncp))

    if not power(_HUGE) > POWER:
        return f"With {early.df + 1:.0f} independent clusters the test would hardly have found any divergence."
    needed = optimize.brentq(lambda ncp: power(ncp) - POWER, 1e-6, _HUGE)
    slope = float(np.sqrt(needed / pull))
    unit, by = (" percentage points", 100.0) if path.percent else ("", 1.0)
    places = digits.decimals([by * slope])
    words = (
        f"A steady divergence of {digits.fixed(by * slope, places)}{unit} a period would have been found with "
        f"{POWER:.0%} power, and a smaller one more likely missed"
    )
    last = age.max()
    if last < 0:
        return f"{words}."
    added = digits.fixed(by * slope * (last - start), places)
    return f"{words}; going on, it would have added {added}{unit} to the effect at {last:g} periods since adoption."
