"""Which comparisons a two-way effects estimate is made of, and whether the forbidden ones decide it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from impact.check import Check
from impact.core import arguments, inference
from impact.core import goodman_bacon as core
from impact.core.collapsed import collapsed
from impact.core.placebo import zero_one
from impact.sample import Sample
from impact.study import Outcome

Array = np.ndarray

KINDS = {
    "never": "against never treated",
    "later": "against not yet treated",
    "earlier": "against already treated",
    "always": "against always treated",
}
MATERIAL = 0.05


def goodman_bacon(
    sample: Sample, *, outcome: str | None = None, always_treated: str = "leave_out", tolerance: float = 0.5
) -> Check:
    """Whether a two-way effects estimate rests on comparisons with units that are treated already.

    With groups that adopt at different times the coefficient of treatment is an average of all differences in
    differences of two groups,

        beta = sum over pairs k, l of s_kl beta_kl,     sum of s_kl = 1,

    and in some of them the units compared with are treated already. If their effects are still changing, the change
    is taken off the others' effect. Each comparison is listed with its weight and estimate. Equally, the coefficient
    is an average of the effects on each group in each period, some of which may count negatively (de Chaisemartin and
    D'Haultfoeuille); their number and sum are noted.

    **Assumptions**: none on the world: the decomposition is arithmetic. It is of the regression without covariates.

    Parameters
    ----------
    sample : Sample
        With ``adoption`` and an outcome seen in every period.
    outcome : str, optional
        An outcome over time; the first, if left out.
    always_treated : ``"leave_out"`` or ``"keep"``
        As for :func:`impact.did.two_way.att`.
    tolerance : float
        By how many standard errors the estimate may change when comparisons with units already treated are left out.

    Returns
    -------
    Check
        A row for each comparison. The weights add up to one, and with them the estimates to
        :func:`impact.did.two_way.att`. It holds where comparisons with units already treated have less than 5% of
        the weight, and does not where they have more and without them the estimate changes by more than is
        tolerated, and by more than chance may do (two standard errors of the change); else it is for the reader to
        judge.

    Raises
    ------
    ValueError
        No adoption or no outcome over time; nobody seen before and after adoption; gaps; all adopt at once.

    **References**: goodmanbacon2021; dechaisemartin2020.

    Examples
    --------
    >>> import pandas as pd
    >>> from impact import Outcome, Study, emulate
    >>> from impact.checks.goodman_bacon import goodman_bacon
    >>> table = pd.DataFrame({"office": range(6), "start": [2, 2, 3, 3, None, None],
    ...                       "open_1": [5, 4, 6, 1, 2, 4], "open_2": [8, 7, 8, 2, 4, 4], "open_3": [9, 9, 9, 5, 5, 5]})
    >>> study = Study(title="One-stop offices", unit="office", adoption="start",
    ...               outcomes=Outcome("open_{}", "open cases", periods=(1, 2, 3)))
    >>> goodman_bacon(emulate(study, table)).tidy()["weight"].round(2).tolist()
    [0.17, 0.33, 0.33, 0.17]
    """
    arguments.option(always_treated, "always_treated", ("leave_out", "keep"))
    arguments.number(tolerance, "tolerance", least=0.0)
    asked = _over_time(sample, outcome)
    groups = _groups(sample, asked, keep=always_treated == "keep")
    parts = core.comparisons(groups.start, groups.weight, groups.mean)
    whole = float(parts.weight @ parts.estimate)
    names = list(core.KINDS)
    table = pd.DataFrame(
        {
            "outcome": asked.words,
            "term": [KINDS[names[k]] for k in parts.kind],
            "adoption_group": groups.first[parts.treated],
            "compared_with": [_named(groups, o) for o in parts.other],
            "weight": parts.weight,
            "estimate": parts.estimate,
        }
    )
    passed, reason = _judged(sample, asked, groups, parts, whole, tolerance)
    return Check(
        claim=f"The two-way estimate for {asked.words} does not rest on comparisons with units already treated",
        table=table.sort_values(["term", "adoption_group"], kind="stable", ignore_index=True),
        passed=passed,
        reason=reason,
        kind="weighed",
        options={"whole": whole, "xlabel": "weight in the estimate", "ylabel": f"effect on {asked.words}"},
        percent=zero_one(groups.outcome),
        references=("goodmanbacon2021", "dechaisemartin2020"),
        notes=_notes(sample, groups),
    )


class _Groups(NamedTuple):
    """Groups that adopt together: first treated period, its position, weight and mean outcomes."""

    first: Array
    start: Array
    weight: Array
    mean: Array
    outcome: Array
    code: Array
    weights: Array
    left_out: int


def _over_time(sample: Sample, outcome: str | None) -> Outcome:
    if sample.adoption is None:
        raise ValueError(
            f"The study “{sample.study.title}” has no `adoption`, which says when each unit was first treated: name "
            "that column in the study."
        )
    asked = [o for o in sample.measured(outcome) if len(sample.periods.get(o.name, ())) > 1]
    if not asked:
        raise ValueError(
            f"`{sample.measured(outcome)[0].name}` is not seen in two periods, and a two-way estimate needs it before "
            "and after adoption: give the Outcome its `periods`, or the study the `period` column of a long table."
        )
    return asked[0]


def _groups(sample: Sample, outcome: Outcome, *, keep: bool) -> _Groups:
    assert sample.adoption is not None
    y, periods = sample.outcome(outcome.name), sample.periods[outcome.name]
    start = np.searchsorted(periods, np.where(sample.adoption > periods[-1], np.inf, sample.adoption))
    always = start == 0
    weights = sample.weights if keep else np.where(always, 0.0, sample.weights)
    used = weights > 0
    kinds, code = np.unique(np.where(used, start, len(periods)), return_inverse=True)
    weight = np.bincount(code, weights, len(kinds))
    kinds, code, weight = _present(kinds, code, weight)
    if not ((kinds > 0) & (kinds < len(periods))).any() or len(kinds) < 2:
        raise ValueError(
            f"The {int(used.sum()):,} units of `{outcome.name}` with a period before adoption fall into {len(kinds)} "
            f"group by its date (`{sample.study.adoption}`), and a comparison needs two: add units that adopt at other "
            "times or never."
        )
    mean = np.array([(weights * (code == c)) @ y for c in range(len(kinds))]) / weight[:, None]
    first = np.append(periods, np.inf)[kinds]
    return _Groups(
        first, kinds, weight, mean, y[used], code, weights, 0 if keep else int((always & (sample.weights > 0)).sum())
    )


def _present(kinds: Array, code: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Without the group that only units of no weight are in; these are given any code."""
    there = np.flatnonzero(weight > 0)
    place = np.zeros(len(kinds), int)
    place[there] = np.arange(len(there))
    return kinds[there], place[code], weight[there]


def _named(groups: _Groups, other: int) -> str:
    return "never treated" if np.isinf(groups.first[other]) else f"{groups.first[other]:g}"


def _judged(
    sample: Sample, outcome: Outcome, groups: _Groups, parts: core.Comparisons, whole: float, tolerance: float
) -> tuple[bool | None, str]:
    forbidden = parts.forbidden
    share = float(parts.weight[forbidden].sum())
    if not forbidden.any():
        return True, "No comparison is with units already treated."
    said = f"Comparisons with units already treated have {100 * share:.1f}% of the weight"
    if forbidden.all():
        return False, f"{said}: there are no others."
    clean = float(np.average(parts.estimate[~forbidden], weights=parts.weight[~forbidden]))
    error, shift_error = _errors(sample, outcome, groups, parts)
    moved = abs(clean - whole) / error if error > 0 else (np.inf if clean != whole else 0.0)
    by, unit = (100.0, " percentage points") if zero_one(groups.outcome) else (1.0, "")
    said += (
        f"; without them the estimate would be {by * clean:.3g} instead of {by * whole:.3g}{unit}, {moved:.2f} "
        "standard errors away"
    )
    if share < MATERIAL:
        return True, f"{said}. Less than {100 * MATERIAL:g}% of the weight is taken as immaterial."
    if moved <= tolerance:
        return None, f"{said}, within the {tolerance:g} that are tolerated; another outcome need not be so lucky."
    if abs(clean - whole) <= 2 * shift_error:
        return None, f"{said}, more than the {tolerance:g} that are tolerated but no more than chance may do."
    return False, f"{said}; {tolerance:g} are tolerated. Use an estimator that keeps groups apart."


def _errors(sample: Sample, outcome: Outcome, groups: _Groups, parts: core.Comparisons) -> tuple[float, float]:
    """Standard errors, by the study's clusters, of the estimate and of what leaving out the forbidden does to it."""
    y = sample.outcome(outcome.name)
    pattern = (np.arange(y.shape[1]) >= groups.start[:, None]).astype(float)[:, :, None]
    fit = collapsed(y, groups.code, pattern, np.empty((len(y), 0)), groups.weights)
    clean = np.where(parts.forbidden, 0.0, parts.weight)
    shift = core.coefficients(parts, clean / clean.sum() - parts.weight, groups.start, y.shape[1])
    gap = (y - groups.mean[groups.code]) * shift[groups.code]
    moved = gap.sum(axis=1) * groups.weights / groups.weight[groups.code]
    live = sample.weights > 0
    cluster = np.unique(sample.cluster[live], return_inverse=True)[1]
    scores = np.column_stack([fit.scores[:, 0], moved])[live]
    error, shift_error = np.sqrt(np.diag(inference.covariance(inference.cluster_sums(scores, cluster))))
    return float(error), float(shift_error)


def _notes(sample: Sample, groups: _Groups) -> tuple[str, ...]:
    weight = core.effects(groups.start, groups.weight, groups.mean.shape[1])
    below = weight < 0
    cells = int((np.arange(weight.shape[1]) >= groups.start[:, None]).sum())
    notes = [
        f"{int(below.sum())} of the {cells} effects on groups in periods enter the estimate with a negative weight, "
        f"{weight[below].sum():.3f} in sum where all weights make 1."
        if below.any()
        else f"None of the {cells} effects on groups in periods enters the estimate with a negative weight."
    ]
    if groups.left_out:
        notes.append(f"{groups.left_out:,} units treated from the first period on are left out.")
    if sample.covariates.shape[1]:
        notes.append("The decomposition is of the estimate without covariates.")
    return tuple(notes)
