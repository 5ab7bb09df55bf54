"""What checks of units that adopt at different times share: whom they look at, what they estimate with, how they judge.

Checks import no topic. The estimators of :mod:`impact.did` are handed to them as functions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from impact.check import Check
from impact.core import arguments, differences
from impact.estimate import Estimate
from impact.sample import ImpactWarning, Sample
from impact.show import digits
from impact.show.words import counted, tested
from impact.stacking import stack
from impact.study import Outcome

Array = np.ndarray
Estimator = Callable[..., Estimate]

POWER = 0.8


# ---- whom -------------------------------------------------------------------------------------


def chosen(sample: Sample, outcome: str | None) -> Outcome:
    """The outcome over time that is asked for; the study's first, if none is named."""
    if sample.adoption is None:
        raise ValueError(
            f"This looks at units that adopt at different times, and the study “{sample.study.title}” has no "
            "`adoption`: name the column with the period in which each unit was first treated."
        )
    asked = sample.measured(None if outcome is None else arguments.text(outcome, "outcome"))
    found = [o for o in asked if o.name in sample.periods]
    if not found:
        raise ValueError(
            f"`{asked[0].name}` is a single value for each unit, and a difference in differences needs it before and "
            "after adoption: give the Outcome its `periods`, or the study the `period` column of a long table."
        )
    return found[0]


def alone(
    sample: Sample,
    asked: Outcome,
    *,
    kept: Array | None = None,
    values: Array | None = None,
    adoption: Array | None = None,
    words: str = "",
) -> Sample:
    """The sample with this outcome only: of the periods ``kept`` (T,), with other values or adoption if given."""
    y = sample.outcome(asked.name, gaps=True) if values is None else values
    periods = sample.periods[asked.name]
    kept = np.ones(len(periods), bool) if kept is None else kept
    some = asked.periods if asked.periods is None else tuple(p for p, k in zip(asked.periods, kept, strict=True) if k)
    only = replace(asked, periods=some, label=words or asked.label)
    about: dict[str, Any] = {}
    if adoption is not None:
        about = {"adoption": adoption, "treated": np.isfinite(adoption)}
    return replace(
        sample,
        study=sample.study.revise(outcomes=only),
        outcomes={only.name: y[:, kept]},
        periods={only.name: periods[kept]},
        **about,
    )


def without(sample: Sample, gone: Array) -> Sample:
    """The sample without these units (n,) bool. A design stays what it is: they lose their weight in it."""
    return replace(sample, weights=np.where(gone, 0.0, sample.weights)) if sample.steps else sample.take(~gone)


def first_treated(sample: Sample, asked: Outcome) -> Array:
    """(n,) the first period in which each unit is treated; minus infinity if it has none before."""
    assert sample.adoption is not None
    return differences.first_treated(sample.adoption, sample.periods[asked.name])


def groups(sample: Sample, first: Array, periods: Array) -> Array:
    """The adoption groups that are seen both before and after adoption."""
    return np.unique(first[(sample.weights > 0) & np.isfinite(first) & (first <= periods[-1])])


def reach(sample: Sample, asked: Outcome, earlier: Any) -> tuple[tuple[float, ...], Array, list[str]]:
    """How much earlier to look, (n,) who can be looked at that much earlier, and what is said of the others.

    If nothing is asked for, one, two and three periods, as far as adoption groups of half of the treated weight go.
    """
    periods, first = sample.periods[asked.name], first_treated(sample, asked)
    mine = groups(sample, first, periods)
    room = np.array([(periods < g).sum() - 1 for g in mine])
    size = np.array([sample.weights[first == g].sum() for g in mine])
    step = float(np.diff(periods).min(initial=np.inf)) if len(periods) > 1 else 1.0
    if earlier is None:
        most = max((k for k in (1, 2, 3) if size[room >= k].sum() >= size.sum() / 2), default=0)
        asked_for = tuple(step * k for k in range(1, most + 1))
    else:
        given = np.unique(arguments.numbers(earlier, "earlier"))
        if not len(given) or not (np.isfinite(given).all() and (given > 0).all()):
            raise ValueError(
                f"`earlier` is {earlier!r}, and says how many periods before adoption to go, such as [1, 2, 3]: "
                "give numbers above 0, or leave it out."
            )
        asked_for = tuple(float(v) for v in given)
    last = max(asked_for, default=0.0)
    fits = np.array([(periods < g - last).any() for g in mine], bool)
    if earlier is not None and not fits.any():
        raise ValueError(
            f"`earlier` asks for {last:g} before adoption, and none of the {counted(len(mine), 'adoption group')} of "
            f"`{asked.name}` is seen before that: ask for less, or add earlier periods."
        )
    lost = np.isin(first, mine[~fits]) if asked_for else np.zeros(len(first), bool)
    left_out = int(((lost | np.isneginf(first)) & (sample.weights > 0)).sum())
    said = [f"{counted(left_out, 'unit')} are left out throughout, for want of earlier periods."] if left_out else []
    return asked_for, ~lost & ~np.isneginf(first), said


# ---- with what ----------------------------------------------------------------------------------


def difference(sample: Sample, anticipation: float = 0) -> Estimate:
    """The plain difference in differences of each outcome over time, without covariates."""
    asked = [o for o in sample.measured() if o.name in sample.periods]
    found = []
    for o in asked:
        periods = sample.periods[o.name]
        y = sample.outcome(o.name, gaps=True)
        found.append(differences.average(y, first_treated(sample, o), periods, sample.weights, anticipation))
        if np.isnan(found[-1].value):
            raise ValueError(
                f"No effect on `{o.name}` can be estimated for the {int((sample.weights > 0).sum()):,} units: none is "
                "seen before and after adoption while others have not adopted; add periods, or units that adopt later."
            )
    lacking = sum(f.lacking for f in found)
    return Estimate.of(
        sample,
        {"outcome": [o.words for o in asked], "term": "average effect since adoption"},
        [f.value for f in found],
        np.column_stack([f.scores for f in found]),
        rests_on=np.column_stack([f.treated for f in found]),
        estimand="Average effect since adoption",
        method="difference in differences without covariates, against units not yet treated",
        percent=all(is_share(sample.outcome(o.name, gaps=True)[sample.weights > 0]) for o in asked),
        references=("callaway2021",),
        notes=(
            f"{lacking} of {sum(f.cells for f in found)} combinations of adoption group and period have nobody to "
            "compare with.",
        )
        * bool(lacking),
    )


def is_share(values: Array) -> bool:
    """Whether an outcome is yes or no wherever it is seen."""
    return bool(((values == 0) | (values == 1) | np.isnan(values)).all())


def runner(estimator: Estimator | None) -> Callable[..., Estimate]:
    """The estimator that was given, or the plain difference, to be called for one value.

    What the package warns of is on the notes of what is found, and is not warned of each time again.
    """
    function = difference if estimator is None else arguments.function(estimator, "estimator")

    def run(sample: Sample, **options: Any) -> Estimate:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = function(sample, **options)
        for w in said:
            if not issubclass(w.category, ImpactWarning):
                warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)
        if not isinstance(found, Estimate) or len(found.value) != 1:
            many = len(found.value) if isinstance(found, Estimate) else type(found).__name__
            raise ValueError(
                f"The estimator gave {many} values for one outcome: let it return an Estimate of one, by `where`."
            )
        return found

    return run


# ---- judging --------------------------------------------------------------------------------------


def together(found: Sequence[Estimate]) -> Estimate | None:
    """The estimates as one with their covariance; None where it is not known."""
    if len(found) == 1:
        return found[0]
    return stack(*found) if all(e.scores is not None for e in found) else None


def shift(part: Estimate, whole: Estimate) -> tuple[float, float]:
    """How far one estimate lies from another, and the error of that, which needs the scores of both."""
    moved = float(part.value[0] - whole.value[0])
    both = together([part, whole])
    return moved, np.nan if both is None else float(both.combine([[1.0, -1.0]], term="shift").std_error[0])


def joint(found: Sequence[Estimate]) -> tuple[float, str]:
    """The p value of all values being zero, and how it was found; by Bonferroni where the covariance is not known."""
    whole = together(found)
    if whole is None:
        p = min(1.0, len(found) * min(float(e.test()["p_value"]) for e in found))
        return p, tested(p) if np.isfinite(p) else ""
    test = whole.test()
    p = float(test["p_value"])
    if not np.isfinite(p):
        return p, ""
    return p, f"F({test['df']:.0f}, {test['df_residual']:.0f}) = {test['statistic']:.2f}, {tested(p)}"


def judged(
    found: Sequence[Estimate], low: Array, high: Array, *, level: float, margin: float | None, what: str, percent: bool
) -> tuple[bool | None, str]:
    """The verdict that all values are zero, and the reason: the joint test, the margin, or what would have been seen.

    ``what`` is the values in words, as "effect on neighbours".
    """
    p, said = joint(found)
    k = sum(len(e.value) for e in found)
    count = counted(k, what) if k > 1 else f"The {what}"
    differ, are = ("differ", "are") if k > 1 else ("differs", "is")
    if np.isfinite(p) and p <= level:
        return False, f"{count} {differ} from zero by more than chance at {100 * level:g}% ({said})."
    by, unit = (100.0, " percentage points") if percent else (1.0, "")
    if margin is not None and (low > -margin).all() and (high < margin).all():
        lies = "every interval lies" if k > 1 else "its interval lies"
        return True, f"{count} {are} within {by * margin:g}{unit} of zero: {lies} there."
    if not np.isfinite(p):
        return None, f"It cannot be decided: {count[0].lower()}{count[1:]} cannot be tested."
    seen = np.concatenate([e.detectable(POWER, 1 - level) for e in found])
    size = digits.fixed(by * seen.min(), digits.decimals([by * seen.min()]))
    each = "one of them alone" if k > 1 else "it"
    return None, (
        f"{count} {are} not told from zero at {100 * level:g}% ({said}), which does not show that there is none: of "
        f"{each}, {size}{unit} would have been found with {POWER:.0%} power, and less more likely missed."
    )


def of_levels(level: float, margin: float | None) -> None:
    """Refuse a level or a margin that is none."""
    arguments.number(level, "level", above=0, below=1)
    arguments.number(margin, "margin", above=0, most=1e12, optional=True)


def undecided(claim: str, asked: Outcome, why: str, references: tuple[str, ...]) -> Check:
    """A check that has nothing to look at, and says why."""
    import pandas as pd

    table = pd.DataFrame({"outcome": [asked.words], "estimate": [np.nan]})
    return Check(claim, table, reason=f"It cannot be decided: {why}.", references=references)
