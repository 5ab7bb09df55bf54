"""Is there an effect where there can be none: before the programme, or on what it cannot touch?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from impact.check import Check
from impact.checks import over_time
from impact.checks.estimators import Estimator
from impact.checks.estimators import chosen as chosen_by
from impact.checks.sides import single, with_outcome
from impact.core import arguments
from impact.estimate import Estimate
from impact.sample import Sample
from impact.show.words import counted, listing, tested
from impact.stacking import stack

Array = np.ndarray

REFERENCES = ("imbens2015", "lipsitch2010")


def outcome(
    sample: Sample,
    *,
    outcome: str | Sequence[str] | None = None,
    estimator: Estimator | None = None,
    margin: float = 0.1,
    level: float = 0.05,
) -> Check:
    """Whether the method finds an effect on what was settled before the programme began.

    The effect on an earlier outcome is known to be zero, so what is found there is bias (or chance):

        estimate = E[earlier outcome | treated] - E[earlier outcome | comparison], as the method compares them.

    Several are tested jointly (Hotelling's test).

    **Assumptions**: nobody reacted to the programme before it began; what confounds the earlier outcome
    confounds the later one. An earlier outcome that is itself a covariate is balanced by design and tests
    nothing: leave it out of the covariates.

    Parameters
    ----------
    sample : Sample
        After the design, if the estimator does not make one.
    outcome : str or several, optional
        Outcomes of the study measured before time zero. If left out: the periods before zero of
        outcomes over time.
    estimator : function ``Sample -> Estimate`` with one value, optional
        As for the real outcome; the difference in means, if left out.
    margin : float
        What counts as no effect, in standard deviations of the outcome in the comparison group.
    level : float
        The test's probability of rejecting when there is no effect.

    Returns
    -------
    Check
        It holds if every interval lies within the margin, does not hold if the test rejects, and is for the reader
        to judge otherwise.

    Raises
    ------
    ValueError
        An outcome that is not measured on each unit, or a level or margin that is none.

    **References**: imbens2015; lipsitch2010.
    """
    names = None if outcome is None else arguments.texts(outcome, "outcome")
    claim = "There is no effect on what was settled before the programme began"
    chosen = _before(sample) if names is None else _asked(sample, names, early=True)
    missing = "the study has no outcome before time zero: measure one, and name it in `outcome`"
    return _judge(sample, claim, chosen, estimator, margin, level, missing)


def negative_control(
    sample: Sample,
    *,
    outcome: str | Sequence[str] | None = None,
    estimator: Estimator | None = None,
    margin: float = 0.1,
    level: float = 0.05,
) -> Check:
    """Whether the method finds an effect on an outcome that the programme cannot touch.

    A negative control is an outcome with the confounders of the real one but out of the programme's reach: dental
    visits for a job-search service, the earnings of the spouse. The effect on it is zero, so

        estimate = bias from confounding that was not removed (or chance).

    **Assumptions**: the programme does not affect the control; what confounds the outcome confounds the control.

    Parameters
    ----------
    sample : Sample
        After the design, if the estimator does not make one.
    outcome : str or several
        The control outcomes, among the study's. Without one nothing can be decided: only the
        reader knows what the programme cannot touch.
    estimator, margin, level : as :func:`outcome`.
        Where units adopt at different times, an estimator such as ``callaway_santanna.att``; the difference in
        differences without covariates, if left out.

    Returns
    -------
    Check
        As :func:`outcome`.

    Raises
    ------
    ValueError
        As :func:`outcome`.

    **References**: lipsitch2010; imbens2015.
    """
    names = None if outcome is None else arguments.texts(outcome, "outcome")
    claim = "There is no effect on what the programme cannot touch"
    staggered = sample.adoption is not None
    if staggered:
        estimator = over_time.chosen(estimator)
    find = _over_time if staggered else partial(_asked, early=False)
    chosen = [] if names is None else find(sample, names)
    missing = "no outcome was named that the programme cannot touch: name one in `outcome`"
    return _judge(sample, claim, chosen, estimator, margin, level, missing)


def start(
    sample: Sample,
    *,
    outcome: str | None = None,
    at: float | None = None,
    estimator: Estimator | None = None,
    margin: float = 0.1,
    level: float = 0.05,
) -> Check:
    """Whether a programme that is pretended to have begun earlier has an effect.

    Of an outcome over time, take the periods before zero only, and pretend that the programme began at ``at``.
    What is compared is each unit's change, so that lasting differences between the arms cancel:

        change = mean of the periods from ``at`` to zero - mean of the periods before ``at``.

    **Assumptions**: nobody reacted to the programme before it began.

    Parameters
    ----------
    sample : Sample
        After the design, if the estimator does not make one. For staggered adoption, see
        :func:`impact.checks.placebo_dates.placebo_dates`.
    outcome : str, optional
        An outcome over time; the study's first that has two periods before zero.
    at : number, optional
        The pretended start; the middle of the periods before zero, if left out.
    estimator, margin, level : as :func:`outcome`.

    Returns
    -------
    Check
        As :func:`outcome`.

    Raises
    ------
    ValueError
        ``at`` leaves no period on one of its sides.

    **References**: imbens2015; lipsitch2010.
    """
    arguments.number(at, "at", optional=True)
    claim = "A programme pretended to begin earlier has no effect"
    missing = "no outcome has two periods before time zero: add earlier periods to one"
    chosen: list[tuple[Sample, Array, str]] = []
    for asked in sample.measured(outcome):
        periods = sample.periods.get(asked.name)
        if periods is None or (periods < 0).sum() < 2:
            continue
        early = np.sort(periods[periods < 0])
        begun = float(early[len(early) // 2]) if at is None else at
        after, before = (periods < 0) & (periods >= begun), periods < begun
        if not (after.any() and before.any()):
            raise ValueError(
                f"A placebo start at {begun:g} was asked for, and `{asked.name}` is measured before zero from "
                f"{early[0]:g} to {early[-1]:g}: choose a start with periods on both its sides."
            )
        values = np.asarray(sample.outcome(asked.name), float)
        change = values[:, after].mean(axis=1) - values[:, before].mean(axis=1)
        word = f"{asked.words}, change at {asked.per} {begun:g}"
        chosen = [(*with_outcome(sample, asked, change, word), word)]
        break
    return _judge(sample, claim, chosen, estimator, margin, level, missing)


# ---- the outcomes -----------------------------------------------------------------------------


def _before(sample: Sample) -> list[tuple[Sample, Array, str]]:
    return [
        (*single(sample, o.name, float(t)), f"{o.words}, {o.per} {t:g}")
        for o in sample.measured()
        for t in sample.periods.get(o.name, np.zeros(0))
        if t < 0
    ]


def _asked(sample: Sample, names: Sequence[str], *, early: bool) -> list[tuple[Sample, Array, str]]:
    """The outcomes by name; of one over time the periods before zero if it must be early, else all."""
    chosen = []
    for o in sample.measured(tuple(names)):
        periods = sample.periods.get(o.name)
        if periods is None:
            chosen.append((*single(sample, o.name), o.words))
            continue
        kept = periods[periods < 0] if early and (periods < 0).any() else periods
        chosen += [(*single(sample, o.name, float(t)), f"{o.words}, {o.per} {t:g}") for t in kept]
    return chosen


def _over_time(sample: Sample, names: Sequence[str]) -> list[tuple[Sample, Array, str]]:
    """The outcomes by name, each alone, where units adopt at different times."""
    asked = [over_time.Subject.of(sample, name) for name in names]
    return [(subject.only(), subject.values, subject.words) for subject in asked]


# ---- the verdict ------------------------------------------------------------------------------


def _judge(
    sample: Sample,
    claim: str,
    chosen: Sequence[tuple[Sample, Array, str]],
    estimator: Estimator | None,
    margin: float,
    level: float,
    missing: str,
) -> Check:
    arguments.number(level, "level", above=0, below=1)
    arguments.number(margin, "margin", above=0, most=1e6)
    run = chosen_by(estimator, "difference in means")
    if not chosen:
        nothing = {"outcome": [o.words for o in sample.study.outcomes], "estimate": np.nan}
        return Check(claim, pd.DataFrame(nothing), reason=f"It cannot be decided: {missing}.", references=REFERENCES)
    found = [_one(run(s), word) for s, _, word in chosen]
    table = pd.concat([e.tidy(1 - level) for e in found], ignore_index=True)
    table = table[["outcome", "estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high"]]
    table["margin"] = [margin * _deviation(y, s) for s, y, _ in chosen]
    inside = (table["conf_low"] > -table["margin"]) & (table["conf_high"] < table["margin"])
    p = _joint(found)
    passed = bool(inside.all()) if np.isnan(p) or p > level else False
    count = counted(len(table), "placebo effect")
    if np.isfinite(p) and p <= level:
        reason = f"{count} {'differs' if len(table) == 1 else 'differ'} from zero by more than chance ({tested(p)})."
    elif passed:
        reason = f"Every interval lies within {margin:g} standard deviations of no effect ({count})."
    else:
        told = f"{count} cannot be told from zero ({tested(p)})" if np.isfinite(p) else f"{count} cannot be tested"
        far = listing(f"“{w}”" for w in table.loc[~inside, "outcome"][:3])
        more = " and others" if (~inside).sum() > 3 else ""
        reason = (
            f"It cannot be decided: {told}, but effects beyond {margin:g} standard deviations are not ruled out for "
            f"{far}{more}."
        )
    return Check(
        claim,
        table,
        passed if passed or (np.isfinite(p) and p <= level) else None,
        reason=reason,
        percent=all(over_time.is_share(y) for _, y, _ in chosen),
        options={"ylabel": "effect where there can be none"},
        references=REFERENCES,
    )


def _one(found: Estimate, word: str) -> Estimate:
    if len(found.value) != 1:
        raise ValueError(
            f"The estimator gave {len(found.value)} values for one outcome: let it return one, by `where`."
        )
    return found.about(index=pd.DataFrame({"outcome": [word]}))


def _deviation(y: Array, sample: Sample) -> float:
    others = y[~sample.treated & (sample.sampling > 0)]
    return float(others[np.isfinite(others)].std(ddof=1))


def _joint(found: Sequence[Estimate]) -> float:
    """The p value of the joint test; by Bonferroni where the covariance is not known."""
    if len(found) == 1 or all(e.scores is not None for e in found):
        return float((found[0] if len(found) == 1 else stack(*found)).test()["p_value"])
    return min(1.0, len(found) * min(float(e.test()["p_value"]) for e in found))
