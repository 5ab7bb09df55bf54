"""Effects of a programme that units adopt at different times, after Callaway and Sant'Anna."""

from __future__ import annotations

from impact.did.aggregate import Quantities
from impact.did.cells import Effects
from impact.did.group_time import effects
from impact.did.options import BASES, Options
from impact.estimate import Estimate
from impact.sample import Sample
from impact.study import Outcome

Names = str | list[str] | None


def att_gt(
    sample: Sample,
    *,
    outcome: Names = None,
    method: str = "dr",
    comparison: str = "not_yet",
    anticipation: float = 0,
    base: str = "varying",
    unbalanced: str = "changes",
) -> Estimate:
    """The effect in each period on the units first treated in each period.

    For the group g first treated in period g, and b the last period before g less anticipation,

        ATT(g, t) = E[Y_t - Y_b | group g] - (the same for comparison units like them).

    Comparison units are made like the group by a regression of the change on the covariates
    (``"reg"``), by the odds of being in the group (``"ipw"``), or by both, which is right if
    either is (``"dr"``). Effects before g are placebos: they should be zero.

    **Assumptions**: without treatment, outcomes of the group and of comparison units with the same
    covariates would have moved in parallel; nobody reacts earlier than ``anticipation`` periods
    before adoption; treatment is never undone; for each unit of the group there are comparison
    units with like covariates; units do not affect each other.

    Parameters
    ----------
    sample : Sample
        With ``adoption`` and an outcome over time. Covariates are those of a unit's first period.
    outcome : str or several, optional
        All outcomes over time, if left out.
    method : ``"dr"``, ``"reg"`` or ``"ipw"``
    comparison : ``"not_yet"`` or ``"never"``
        Compare with units first treated after the periods compared (never included), or only with
        units never treated while observed.
    anticipation : number
        Periods before adoption in which units may already react.
    base : ``"varying"`` or ``"universal"``
        Effects before adoption are measured from the period before each, or, like those after,
        from the last period before adoption. That period itself is zero by construction and left out.
    unbalanced : ``"changes"`` or ``"levels"``
        What is done where units are not seen in every period (``missing="keep"`` in the study).
        ``"changes"``: each effect is of the units seen in both of its periods, so that every unit is its
        own comparison over time and nobody is dropped for a gap elsewhere. ``"levels"``: all
        observations, nobody followed, as from repeated cross-sections (R did's
        ``allow_unbalanced_panel=TRUE``); whom the observations cover must then not change over time,
        and differences between units enter the error. Where nobody is seen twice it is always levels.

    Returns
    -------
    Estimate
        A value for each outcome, ``adoption_group`` and period (``time``), in the outcome's unit.

    Raises
    ------
    ValueError
        No adoption or no outcome over time; nobody seen both before and after adoption; no effect that
        can be estimated. Where some effects can and others cannot be, notes name those that cannot.

    **References**: callaway2021; santanna2020.

    Examples
    --------
    >>> import pandas as pd
    >>> from impact import Outcome, Study, emulate
    >>> from impact.did import callaway_santanna
    >>> table = pd.DataFrame({"office": range(6), "start": [3, 3, 3, None, None, None],
    ...                       "open_1": [5, 4, 6, 1, 2, 4], "open_2": [6, 4, 8, 2, 4, 4], "open_3": [9, 7, 9, 2, 5, 5]})
    >>> study = Study(title="One-stop offices", unit="office", adoption="start",
    ...               outcomes=Outcome("open_{}", "open cases", periods=(1, 2, 3)))
    >>> [round(float(v), 2) for v in callaway_santanna.att_gt(emulate(study, table)).value]
    [0.0, 1.67]
    """
    options = Options(method=method, comparison=comparison, anticipation=anticipation, base=base, unbalanced=unbalanced)
    return _quantities(sample, outcome, options, shows_base=True).att_gt()


def event_study(
    sample: Sample,
    *,
    outcome: Names = None,
    method: str = "dr",
    comparison: str = "not_yet",
    anticipation: float = 0,
    base: str = "varying",
    unbalanced: str = "changes",
    balance: int | None = None,
) -> Estimate:
    """The effect by time since adoption, averaged over adoption groups by their size.

        theta(e) = sum over g of ATT(g, g + e) W_g / sum over g of W_g

    over the groups observed e periods after adoption, W_g being their weight. Which groups these
    are changes with e, unless ``balance`` holds them fixed.

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, method, comparison, anticipation, base, unbalanced
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

    **References**: callaway2021; santanna2020.
    """
    options = Options(method=method, comparison=comparison, anticipation=anticipation, base=base, unbalanced=unbalanced)
    return _quantities(sample, outcome, options, shows_base=True).event_study(balance)


def by_group(
    sample: Sample,
    *,
    outcome: Names = None,
    method: str = "dr",
    comparison: str = "not_yet",
    anticipation: float = 0,
    unbalanced: str = "changes",
) -> Estimate:
    """The effect on each adoption group, averaged over the periods since its adoption.

        theta(g) = mean over t >= g of ATT(g, t)

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, method, comparison, anticipation, unbalanced
        As for :func:`att_gt`.

    Returns
    -------
    Estimate
        A value for each outcome and ``adoption_group``.

    Raises
    ------
    ValueError
        As for :func:`att_gt`.

    **References**: callaway2021; santanna2020.
    """
    options = Options(method=method, comparison=comparison, anticipation=anticipation, unbalanced=unbalanced)
    return _quantities(sample, outcome, options).by_group()


def by_period(
    sample: Sample,
    *,
    outcome: Names = None,
    method: str = "dr",
    comparison: str = "not_yet",
    anticipation: float = 0,
    unbalanced: str = "changes",
) -> Estimate:
    """The effect in each period on the units treated by then, averaged over their groups by size.

        theta(t) = sum over g <= t of ATT(g, t) W_g / sum over g <= t of W_g

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, method, comparison, anticipation, unbalanced
        As for :func:`att_gt`.

    Returns
    -------
    Estimate
        A value for each outcome and period (``time``).

    Raises
    ------
    ValueError
        As for :func:`att_gt`.

    **References**: callaway2021; santanna2020.
    """
    options = Options(method=method, comparison=comparison, anticipation=anticipation, unbalanced=unbalanced)
    return _quantities(sample, outcome, options).by_period()


def att(
    sample: Sample,
    *,
    outcome: Names = None,
    method: str = "dr",
    comparison: str = "not_yet",
    anticipation: float = 0,
    unbalanced: str = "changes",
    average: str = "group",
) -> Estimate:
    """The average effect since adoption on the units that adopted while observed, in one number.

    ``average`` says over what: ``"group"``, each group's mean effect since its adoption, by the size
    of the group (so that every treated unit counts alike, which Callaway and Sant'Anna recommend);
    ``"simple"``, all groups and periods since adoption by the size of the group (early adopters count
    more often); ``"event"``, the plain mean of the event study since adoption; ``"period"``, the
    plain mean of the effects by period.

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, method, comparison, anticipation, unbalanced
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

    **References**: callaway2021; santanna2020.
    """
    options = Options(method=method, comparison=comparison, anticipation=anticipation, unbalanced=unbalanced)
    return _quantities(sample, outcome, options).att(average)


def _quantities(sample: Sample, outcome: Names, options: Options, *, shows_base: bool = False) -> Quantities:
    def cells(sample: Sample, outcome: Outcome) -> Effects:
        return effects(sample, outcome, options)

    words = options.words(sample.covariates.shape[1]) + (f"; {BASES[options.base]}" if shows_base else "")
    return Quantities(sample, outcome, cells, {"method": words, "references": ("callaway2021", "santanna2020")})
