"""Triple differences: a programme that reaches only some of the units where it is adopted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from impact.did.aggregate import Quantities
from impact.did.cells import Effects
from impact.did.observed import observed
from impact.did.options import COMPARISONS, METHODS
from impact.did.triple_groups import Affected, Options, Work
from impact.estimate import Estimate
from impact.sample import Sample
from impact.study import Outcome

Names = str | list[str] | None


def att_gt(
    sample: Sample,
    *,
    outcome: Names = None,
    affected: str | None = None,
    method: str = "dr",
    comparison: str = "never",
    anticipation: float = 0,
    base: str = "varying",
) -> Estimate:
    """The effect in each period on the affected units of each adoption group.

    Where a programme is adopted it reaches only some units: the affected. The others there lived through the same
    local shocks. With Q = 1 for the affected, c for comparison units that adopt later or never, and D(a against b) the
    difference in differences of a against b since the last period before adoption, adjusted to the covariates of a,

        ATT(g, t) = D(g, Q = 1 against g, Q = 0) + D(g, Q = 1 against c, Q = 1) - D(g, Q = 1 against c, Q = 0).

    All three are adjusted to the covariates of the *same* units, the affected of group g. The difference of two
    doubly robust differences in differences, one among the affected and one among the others, is not: it adjusts
    each to its own covariates, and is biased where these differ between affected and others (Ortiz-Villavicencio and
    Sant'Anna 2025). Without covariates the two are one.

    With ``comparison="not_yet"`` units that adopt later are used as well, but never pooled, which would be biased
    even without covariates: each later group makes an estimate, and they are averaged with the weights that have the
    smallest variance (taken as given in the error).

    **Assumptions**: without treatment, the gap between affected and others with the same covariates would have
    changed alike in groups that adopt and in those that do not (each may have trends of its own otherwise); the
    programme does not touch the others; nobody reacts earlier than ``anticipation`` periods before adoption; treatment
    is never undone; for each affected unit there are units with like covariates in all three other groups.

    Parameters
    ----------
    sample : Sample
        With ``adoption`` and an outcome over time (or two arms and two periods). Covariates are those of the first
        period.
    outcome : str or several, optional
        All outcomes over time, if left out.
    affected : str, optional
        A covariate of the study that is 1 for units whom the programme may reach and 0 for the others, adopted or
        not. If left out, the only covariate that is yes or no. It is not adjusted for.
    method : ``"dr"``, ``"reg"`` or ``"ipw"``
        How units are made alike in the other covariates.
    comparison : ``"never"`` or ``"not_yet"``
    anticipation : number
        Periods before adoption in which units may already react.
    base : ``"varying"`` or ``"universal"``
        Effects before adoption are measured from the period before each, or, like those after,
        from the last period before adoption. That period itself is zero by construction and left out.

    Returns
    -------
    Estimate
        A value for each outcome, ``adoption_group`` and period (``time``), in the outcome's unit.

    Raises
    ------
    KeyError
        ``affected`` is not among the covariates.
    ValueError
        No adoption or no outcome over time; ``affected`` is not yes or no, or was left out and is not the only
        such; one of the four kinds of units is missing everywhere; covariates that allow no estimate.

    **References**: ortiz2025; gruber1994; santanna2020.

    Examples
    --------
    >>> import pandas as pd
    >>> from impact import Outcome, Study, emulate
    >>> from impact.did import triple
    >>> table = pd.DataFrame({"person": range(8), "start": [2] * 4 + [None] * 4, "under_25": [1, 1, 0, 0] * 2,
    ...                       "days_1": [5, 4, 6, 1, 2, 4, 3, 4], "days_2": [9, 8, 8, 3, 3, 5, 5, 6]})
    >>> study = Study(title="Youth guarantee", unit="person", adoption="start", covariates="under_25",
    ...               outcomes=Outcome("days_{}", "days in work", periods=(1, 2)))
    >>> [round(float(v), 2) for v in triple.att_gt(emulate(study, table)).value]
    [3.0]
    """
    options = Options(method, comparison, anticipation, base)
    return _estimate(sample, outcome, affected, options, Quantities.att_gt)


def event_study(
    sample: Sample,
    *,
    outcome: Names = None,
    affected: str | None = None,
    method: str = "dr",
    comparison: str = "never",
    anticipation: float = 0,
    base: str = "varying",
    balance: int | None = None,
) -> Estimate:
    """The effect by time since adoption, averaged over adoption groups by the number of their affected units.

        theta(e) = sum over g of ATT(g, g + e) W_g / sum over g of W_g

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, affected, method, comparison, anticipation, base
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
    KeyError, ValueError
        As for :func:`att_gt`; no group observed as long as ``balance`` asks.

    **References**: ortiz2025; gruber1994; santanna2020.
    """
    options = Options(method, comparison, anticipation, base)
    return _estimate(sample, outcome, affected, options, lambda q: q.event_study(balance))


def by_group(
    sample: Sample,
    *,
    outcome: Names = None,
    affected: str | None = None,
    method: str = "dr",
    comparison: str = "never",
    anticipation: float = 0,
) -> Estimate:
    """The effect on the affected of each adoption group, averaged over the periods since its adoption.

        theta(g) = mean over t >= g of ATT(g, t)

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, affected, method, comparison, anticipation
        As for :func:`att_gt`.

    Returns
    -------
    Estimate
        A value for each outcome and ``adoption_group``.

    Raises
    ------
    KeyError, ValueError
        As for :func:`att_gt`.

    **References**: ortiz2025; gruber1994; santanna2020.
    """
    options = Options(method, comparison, anticipation)
    return _estimate(sample, outcome, affected, options, Quantities.by_group)


def by_period(
    sample: Sample,
    *,
    outcome: Names = None,
    affected: str | None = None,
    method: str = "dr",
    comparison: str = "never",
    anticipation: float = 0,
) -> Estimate:
    """The effect in each period on the affected units treated by then, averaged over their groups by size.

        theta(t) = sum over g <= t of ATT(g, t) W_g / sum over g <= t of W_g

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, affected, method, comparison, anticipation
        As for :func:`att_gt`.

    Returns
    -------
    Estimate
        A value for each outcome and period (``time``).

    Raises
    ------
    KeyError, ValueError
        As for :func:`att_gt`.

    **References**: ortiz2025; gruber1994; santanna2020.
    """
    options = Options(method, comparison, anticipation)
    return _estimate(sample, outcome, affected, options, Quantities.by_period)


def att(
    sample: Sample,
    *,
    outcome: Names = None,
    affected: str | None = None,
    method: str = "dr",
    comparison: str = "never",
    anticipation: float = 0,
    average: str = "group",
) -> Estimate:
    """The average effect since adoption on the affected units, in one number.

    ``average`` says over what: ``"group"``, each group's mean effect since its adoption, by the number of its affected
    units; ``"simple"``, all groups and periods since adoption by that number; ``"event"``, the plain mean of the event
    study since adoption; ``"period"``, the plain mean of the effects by period.

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, affected, method, comparison, anticipation
        As for :func:`att_gt`.
    average : ``"group"``, ``"simple"``, ``"event"`` or ``"period"``

    Returns
    -------
    Estimate
        One value for each outcome.

    Raises
    ------
    KeyError, ValueError
        As for :func:`att_gt`; an ``average`` that is not one of the four.

    **References**: ortiz2025; gruber1994; santanna2020.
    """
    options = Options(method, comparison, anticipation)
    return _estimate(sample, outcome, affected, options, lambda q: q.att(average))


def _estimate(
    sample: Sample, outcome: Names, affected: str | None, options: Options, ask: Callable[[Quantities], Estimate]
) -> Estimate:
    whom = Affected.of(sample, affected)
    sample = _with_adoption(sample, outcome)
    how = METHODS[options.method] if whom.x.shape[1] else "no covariates"
    early = f", reacting up to {options.anticipation:g} periods in advance" if options.anticipation else ""
    about = {
        "method": f"triple differences by {whom.word} (Ortiz-Villavicencio and Sant'Anna), {how}, against "
        f"{COMPARISONS[options.comparison]}{early}",
        "references": ("ortiz2025", "gruber1994", "santanna2020"),
    }

    def cells(sample: Sample, outcome: Outcome) -> Effects:
        return Work(sample, observed(sample, outcome, options.anticipation), whom, options).effects()

    return whom.with_corners(ask(Quantities(sample, outcome, cells, about)), sample)


def _with_adoption(sample: Sample, outcome: Names) -> Sample:
    """A sample of two arms and two periods as one in which the treated adopt in the second."""
    seen = [sample.periods[o.name] for o in sample.measured(outcome) if o.name in sample.periods]
    if sample.adoption is not None or not seen or any(len(p) != 2 or p[1] != seen[0][1] for p in seen):
        return sample
    treated = next(iter(sample.arms.values()))
    return replace(sample, adoption=np.where(treated, seen[0][1], np.inf))
