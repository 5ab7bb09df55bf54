"""Effects of a programme adopted at different times, by the extended two-way regression of Wooldridge.

A two-way regression goes wrong with staggered adoption because it has one coefficient for effects that differ.
With one for each adoption group and period it does not.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from impact.core import arguments, unit_effects
from impact.did.aggregate import Quantities
from impact.did.cells import Effects
from impact.did.observed import Observed, lacking, observed
from impact.did.options import COMPARISONS
from impact.estimate import Estimate
from impact.sample import Sample
from impact.study import Outcome

Array = np.ndarray
Names = str | list[str] | None


def att_gt(sample: Sample, *, outcome: Names = None, comparison: str = "not_yet", anticipation: float = 0) -> Estimate:
    """The effect in each period on the units first treated in each period, as coefficients of one regression.

    With unit effects, period effects, covariates x_i that move the outcome differently in each period, and, for each
    group g and period t, an indicator and its products with the covariates,

        Y_it = a_i + b_t + x_i'd_t + sum over g, t of 1{i in g, t} (tau_gt + (x_i - mean of x in g)'r_gt) + e_it,

    by weighted least squares; ATT(g, t) is tau_gt, and the error of the groups' means of x is in its error.
    With ``comparison="not_yet"`` there are indicators for the periods since adoption, and all untreated
    observations serve as comparison: where each unit is seen in every period this is imputation (Borusyak, Jaravel
    and Spiess). With ``"never"`` there are indicators for the periods before adoption too, but for the last, and
    units never treated alone serve as comparison: this is Callaway and Sant'Anna's regression from a
    universal base, and without covariates Sun and Abraham's.

    **Assumptions**: without treatment, outcomes of units with the same covariates would have moved in parallel (with
    ``"not_yet"`` in all periods, with ``"never"`` since the last before adoption); covariates act linearly; nobody
    reacts earlier than ``anticipation`` periods before adoption; treatment is never undone; units do not affect each
    other; which observations are missing does not depend on the outcome, given unit and period.

    Parameters
    ----------
    sample : Sample
        With ``adoption`` and an outcome over time; units may be missing in some periods. Covariates are those of the
        first period.
    outcome : str or several, optional
        All outcomes over time, if left out.
    comparison : ``"not_yet"`` or ``"never"``
    anticipation : number
        Periods before adoption in which units may already react; these have effects of their own.

    Returns
    -------
    Estimate
        A value for each outcome, ``adoption_group`` and period (``time``), in the outcome's unit. The regression is
        linear whatever the outcome: for yes or no, effects are in probabilities.

    Raises
    ------
    ValueError
        No adoption or no outcome over time; nobody seen both before and after adoption;
        nobody to compare with.

    **References**: wooldridge2025; borusyak2024; callaway2021.

    Examples
    --------
    >>> import pandas as pd
    >>> from impact import Outcome, Study, emulate
    >>> from impact.did import extended
    >>> table = pd.DataFrame({"office": range(6), "start": [3, 3, 3, None, None, None],
    ...                       "open_1": [5, 4, 6, 1, 2, 4], "open_2": [6, 4, 8, 2, 4, 4], "open_3": [9, 7, 9, 2, 5, 5]})
    >>> study = Study(title="One-stop offices", unit="office", adoption="start",
    ...               outcomes=Outcome("open_{}", "open cases", periods=(1, 2, 3)))
    >>> [round(float(v), 2) for v in extended.att_gt(emulate(study, table), comparison="never").value]
    [0.0, 1.67]
    """
    return _quantities(sample, outcome, comparison, anticipation).att_gt()


def event_study(
    sample: Sample,
    *,
    outcome: Names = None,
    comparison: str = "not_yet",
    anticipation: float = 0,
    balance: int | None = None,
) -> Estimate:
    """The effect by time since adoption, averaged over adoption groups by their size.

        theta(e) = sum over g of ATT(g, g + e) W_g / sum over g of W_g

    With ``comparison="never"`` there are effects before adoption too, measured from the last period before it: they
    should be zero.

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, comparison, anticipation
        As for :func:`att_gt`.
    balance : int, optional
        Keep only groups observed at least this many periods after adoption, and effects up to there,
        so that all effects after adoption are of the same groups.

    Returns
    -------
    Estimate
        A value for each outcome and ``time`` since adoption: 0 is the period of adoption.

    Raises
    ------
    ValueError
        As for :func:`att_gt`; no group observed as long as ``balance`` asks.

    **References**: wooldridge2025; callaway2021.
    """
    return _quantities(sample, outcome, comparison, anticipation).event_study(balance)


def by_group(
    sample: Sample, *, outcome: Names = None, comparison: str = "not_yet", anticipation: float = 0
) -> Estimate:
    """The effect on each adoption group, averaged over the periods since its adoption.

        theta(g) = mean over t >= g of ATT(g, t)

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, comparison, anticipation
        As for :func:`att_gt`.

    Returns
    -------
    Estimate
        A value for each outcome and ``adoption_group``.

    Raises
    ------
    ValueError
        As for :func:`att_gt`.

    **References**: wooldridge2025; callaway2021.
    """
    return _quantities(sample, outcome, comparison, anticipation).by_group()


def by_period(
    sample: Sample, *, outcome: Names = None, comparison: str = "not_yet", anticipation: float = 0
) -> Estimate:
    """The effect in each period on the units treated by then, averaged over their groups by size.

        theta(t) = sum over g <= t of ATT(g, t) W_g / sum over g <= t of W_g

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, comparison, anticipation
        As for :func:`att_gt`.

    Returns
    -------
    Estimate
        A value for each outcome and period (``time``).

    Raises
    ------
    ValueError
        As for :func:`att_gt`.

    **References**: wooldridge2025; callaway2021.
    """
    return _quantities(sample, outcome, comparison, anticipation).by_period()


def att(
    sample: Sample,
    *,
    outcome: Names = None,
    comparison: str = "not_yet",
    anticipation: float = 0,
    average: str = "group",
) -> Estimate:
    """The average effect since adoption on the units that adopted while observed, in one number.

    ``average`` says over what: ``"group"``, each group's mean effect since its adoption, by the size of the group
    (every treated unit counts alike); ``"simple"``, all groups and periods since adoption by the size of the group
    (every treated observation counts alike, as R's etwfe has it); ``"event"``, the plain mean of the effects by time
    since adoption; ``"period"``, the plain mean of the effects by period.

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, comparison, anticipation
        As for :func:`att_gt`.
    average : ``"group"``, ``"simple"``, ``"event"`` or ``"period"``

    Returns
    -------
    Estimate
        One value for each outcome.

    Raises
    ------
    ValueError
        As for :func:`att_gt`; an ``average`` that is not one of the four.

    **References**: wooldridge2025; callaway2021.
    """
    return _quantities(sample, outcome, comparison, anticipation).att(average)


def _quantities(sample: Sample, outcome: Names, comparison: str, anticipation: float) -> Quantities:
    arguments.option(comparison, "comparison", COMPARISONS)
    arguments.number(anticipation, "anticipation", least=0, most=1e6)
    how = ", covariates by period and by group and period" if sample.covariates.shape[1] else ""
    early = f", reacting up to {anticipation:g} periods in advance" if anticipation else ""
    words = f"extended two-way regression (Wooldridge){how}, against {COMPARISONS[comparison]}{early}"
    cells = partial(_effects, comparison=comparison, anticipation=anticipation)
    return Quantities(sample, outcome, cells, {"method": words, "references": ("wooldridge2025", "callaway2021")})


def _effects(sample: Sample, outcome: Outcome, *, comparison: str, anticipation: float) -> Effects:
    seen = observed(sample, outcome, anticipation)
    if comparison == "never":
        _refuse_without_never(sample, seen)
    T, q = len(seen.periods), seen.z.shape[1]
    cells = _cells(seen, comparison, anticipation)
    terms = np.zeros((1 + len(seen.groups), T, T + len(cells)))
    terms[:, :, :T] = np.eye(T)
    for c, (k, t) in enumerate(cells):
        terms[1 + k, t, T + c] = 1.0
    adopts = np.isin(seen.first, seen.groups)
    kind = np.where(adopts, 1 + np.searchsorted(seen.groups, seen.first), 0)
    fit = unit_effects.fit(seen.y, np.isfinite(seen.y), kind, terms, seen.z, seen.weights)
    gradient = np.zeros((len(cells), T + len(cells), q))
    share = {}
    for c, (k, t) in enumerate(cells):
        mine = np.flatnonzero((kind == 1 + k) & (seen.weights > 0) & np.isfinite(seen.y[:, t]))
        if len(mine):
            share[c] = mine, seen.weights[mine] / seen.weights[mine].sum()
            gradient[c, T + c] = share[c][1] @ seen.z[mine]
    there = np.array([c in share for c in range(len(cells))])
    there[there] = fit.estimable(gradient[there])
    done = np.flatnonzero(there)
    notes = seen.notes + lacking(
        [(seen.groups[k], seen.periods[t]) for c, (k, t) in enumerate(cells) if not there[c]], len(cells), outcome,
        f"because the data do not tell it from the period's: there are no {COMPARISONS[comparison]} then, or the group "
        "is not seen",
    )  # fmt: skip
    if not len(done):
        raise ValueError(
            f"None of the {len(cells)} effects by adoption group and period on `{outcome.name}` can be told from "
            f"period effects: there are no {COMPARISONS[comparison]} (`{sample.study.adoption}`); add some."
        )
    value = np.einsum("cjq,jq->c", gradient[done], fit.coefficients)
    scores = fit.carry(gradient[done])
    for at, place in enumerate(done):
        mine, w = share[int(place)]
        scores[mine, at] += w * (seen.z[mine] @ fit.coefficients[T + place] - value[at])
    group, time = seen.groups[[cells[c][0] for c in done]], seen.periods[[cells[c][1] for c in done]]
    return Effects(group, time, value, scores, seen.first, seen.weights, tuple(notes), q - 1)


def _cells(seen: Observed, comparison: str, anticipation: float) -> list[tuple[int, int]]:
    """(position of the group, position of the period) of each indicator."""
    found = []
    for k, g in enumerate(seen.groups):
        base = int(np.flatnonzero(seen.periods + anticipation < g)[-1])
        found += [(k, t) for t in range(len(seen.periods)) if t > base or (comparison == "never" and t < base)]
    return found


def _refuse_without_never(sample: Sample, seen: Observed) -> None:
    never = int(((seen.first > seen.periods[-1]) & (seen.weights > 0)).sum())
    if not never:
        raise ValueError(
            f"There are no units never treated to compare with among the {int((seen.weights > 0).sum()):,} units of "
            f"`{seen.outcome.name}`: all adopt (`{sample.study.adoption}`) in time; compare with comparison='not_yet'."
        )
