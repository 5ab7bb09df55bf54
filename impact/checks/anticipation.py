"""Did treated units already move before they were treated: a dip, or a reaction in advance?"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import numpy as np
import pandas as pd

from impact.check import Check
from impact.checks import over_time, verdicts
from impact.checks.over_time import Estimator
from impact.core import arguments
from impact.sample import Sample
from impact.show.words import counted

REFERENCES = ("ashenfelter1978", "heckman1999")


def anticipation(
    sample: Sample,
    *,
    outcome: str | None = None,
    earlier: float | Sequence[float] | None = None,
    estimator: Estimator | None = None,
    margin: float | None = None,
    level: float = 0.05,
) -> Check:
    """Whether the effect stays where it is when the periods just before adoption are left out.

    People enter programmes after bad times, and areas announce them before they begin: the last period before
    adoption is then no picture of what would have been (Ashenfelter's dip). With b(d) the last period before
    adoption less d, and a(d) the effect measured from there,

        a(d) = E[Y after - Y b(d) | treated] - (the same for comparison units),
        shift(d) = a(d) - a(0).

    If nothing happened in the d periods before adoption, every shift is zero. All are tested jointly. After a dip,
    a(0) is too large and shifts go down (where a low outcome is bad); after an early start, a(0) is too small.

    **Assumptions**: outcomes of treated and comparison units would have moved in parallel; a shift does not tell a
    dip from trends that were never parallel.

    Parameters
    ----------
    sample : Sample
        With ``adoption`` and an outcome over time. Units without a period before the longest reach are left out of
        all estimates, so that all are of the same units.
    outcome : str, optional
        An outcome over time; the study's first, if left out.
    earlier : number or several
        How much earlier the comparison starts, in the unit of the periods; one, two and three periods, as far as
        half of the treated go, if left out.
    estimator : function ``(Sample, anticipation=...) -> Estimate`` of one value
        Such as ``callaway_santanna.att``; the difference in differences without covariates, if left out.
    margin : float, optional
        The largest shift that would not matter, in the outcome's unit. Without one, the verdict is never "holds".
    level : float
        The test's probability of rejecting when there is no shift.

    Returns
    -------
    Check
        With the effect and its interval for each start, how far it moves, with the error of that, and the smallest
        shift that would have been found with 80% power.

    Raises
    ------
    ValueError
        No adoption or no outcome over time; an estimator without the argument ``anticipation``; nobody is seen so
        much earlier.

    **References**: ashenfelter1978; heckman1999.
    """
    verdicts.of_levels(level, margin)
    subject = over_time.Subject.of(sample, outcome)
    if estimator is not None:
        _refuse_without_argument(estimator)
    run = over_time.runner(estimator)
    claim = f"Nothing happened to {subject.words} just before adoption: leaving these periods out moves no effect"
    starts, gone, notes = over_time.reach(subject, earlier)
    if not starts:
        why = "half of the treated have no second period before adoption; add earlier periods"
        return Check(claim, references=REFERENCES, **verdicts.nothing(subject.words, why))
    kept = subject.only(gone)
    whole = run(kept, anticipation=0.0)
    moved = [run(kept, anticipation=d) for d in starts]
    table = pd.concat([e.tidy(1 - level) for e in (whole, *moved)], ignore_index=True)
    table = table[["estimate", "std_error", "conf_low", "conf_high"]]
    table.insert(0, "term", ["from the last period before adoption", *(f"from {d:g} earlier" for d in starts)])
    table.insert(0, "outcome", subject.words)
    shifts = [verdicts.shift(e, whole) for e in moved]
    table["shift"], table["shift_error"] = np.array([(np.nan, np.nan), *shifts]).T
    passed, reason = None, "It cannot be decided: the estimator has no scores, so the error of a shift is not known."
    both = verdicts.together([whole, *moved])
    if both is not None:
        k = len(starts)
        gaps = both.combine(np.column_stack([-np.ones(k), np.eye(k)]), term=[f"{d:g}" for d in starts])
        low, high = gaps.interval(1 - level)
        table["smallest_detectable"] = [np.nan, *gaps.detectable(verdicts.POWER, 1 - level)]
        passed, reason = verdicts.judged(
            [gaps], low, high, level=level, margin=margin, what="shift", percent=whole.percent
        )
    return Check(
        claim,
        table,
        passed,
        reason=reason,
        percent=whole.percent,
        options={"ylabel": f"effect on {subject.words}"},
        references=REFERENCES,
        notes=tuple(dict.fromkeys((*notes, *(n for e in (whole, *moved) for n in e.notes)))),
    )


def _refuse_without_argument(estimator: Estimator) -> None:
    arguments.function(estimator, "estimator")
    takes = inspect.signature(estimator).parameters.values()
    if not any(p.name == "anticipation" or p.kind is p.VAR_KEYWORD for p in takes):
        raise ValueError(
            f"The estimator takes {counted(len(list(takes)), 'argument')} and none is `anticipation`, by which the "
            "start of the comparison is moved: give one that does, such as callaway_santanna.att."
        )
