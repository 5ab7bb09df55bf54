"""Effects of a programme adopted at different times, by imputing what would have been without it.

Borusyak, Jaravel and Spiess (2024): unit and period effects are learnt from untreated observations alone, and what
they say of the treated ones is taken from what was seen.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from impact.core import arguments, unit_effects
from impact.core.unit_effects import UnitEffects
from impact.did.aggregate import Quantities
from impact.did.cells import Effects
from impact.did.observed import Observed, lacking, observed
from impact.estimate import Estimate
from impact.sample import Sample
from impact.study import Outcome

Array = np.ndarray
Names = str | list[str] | None


def att_gt(sample: Sample, *, outcome: Names = None, anticipation: float = 0) -> Estimate:
    """The effect in each period on the units first treated in each period: what was seen less what is imputed.

    On the untreated observations alone, units i with covariates x_i and weights w_i in periods t,

        Y_it = a_i + b_t + x_i'd_t + e_it,

    is fitted by weighted least squares, and with N_gt the observations of group g in period t,

        ATT(g, t) = sum over i in N_gt of w_i (Y_it - a_i - b_t - x_i'd_t) / sum over i in N_gt of w_i.

    All untreated periods serve as the base, not the last alone, which is efficient if errors are independent over
    time, and no better than the last alone if they are a random walk. Where each unit is seen in every period and
    there are no covariates, this is the extended two-way regression.

    **Assumptions**: without treatment, outcomes of units with the same covariates would have moved in parallel in
    *all* periods, also those long before adoption; nobody reacts earlier than ``anticipation`` periods before
    adoption; treatment is never undone; units do not affect each other; which observations are missing does not
    depend on the outcome, given unit and period.

    Parameters
    ----------
    sample : Sample
        With ``adoption`` and an outcome over time; units may be missing in some periods. Covariates are those of the
        first period, and are let move the outcome differently in each period.
    outcome : str or several, optional
        All outcomes over time, if left out.
    anticipation : number
        Periods before adoption in which units may already react: these observations are not used.

    Returns
    -------
    Estimate
        A value for each outcome, ``adoption_group`` and period (``time``) since adoption, in the outcome's unit.
        Periods in which nobody is untreated cannot be imputed, and a note names the cells. The variance is the
        conservative one of the paper (their equation 8 with the residuals of treated observations taken from the
        mean of their group and period), to which averages over groups add that the groups' sizes vary too.

    Raises
    ------
    ValueError
        No adoption or no outcome over time; nobody seen both before and after adoption;
        nobody to compare with.

    **References**: borusyak2024.

    Examples
    --------
    >>> import pandas as pd
    >>> from impact import Outcome, Study, emulate
    >>> from impact.did import imputation
    >>> table = pd.DataFrame({"office": range(6), "start": [3, 3, 3, None, None, None],
    ...                       "open_1": [5, 4, 6, 1, 2, 4], "open_2": [6, 4, 8, 2, 4, 4], "open_3": [9, 7, 9, 2, 5, 5]})
    >>> study = Study(title="One-stop offices", unit="office", adoption="start",
    ...               outcomes=Outcome("open_{}", "open cases", periods=(1, 2, 3)))
    >>> [round(float(v), 2) for v in imputation.att_gt(emulate(study, table)).value]
    [1.67]
    """
    return _quantities(sample, outcome, anticipation).att_gt()


def event_study(
    sample: Sample,
    *,
    outcome: Names = None,
    anticipation: float = 0,
    balance: int | None = None,
    leads: int | None = None,
) -> Estimate:
    """The effect by time since adoption, averaged over adoption groups by their size, and a test of what came before.

    From adoption on, averages of the cells of :func:`att_gt`. Before it, the coefficients of a regression of its own,
    on untreated observations alone, in which units -1 to -``leads`` periods from adoption may differ from what unit and
    period effects say:

        Y_it = a_i + b_t + x_i'd_t + sum over k = 1..leads of c_k 1{t = g_i - k} + e_it.

    They are measured from all earlier periods, not from the period before adoption; that they are fitted apart
    keeps a test of them from bending the effects that are read after it.

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, anticipation
        As for :func:`att_gt`.
    balance : int, optional
        Keep only groups observed at least this many periods after adoption, and effects up to there,
        so that all effects after adoption are of the same groups.
    leads : int, optional
        How many periods before adoption to test; 0 for none. If left out, as many as leave every group that is seen
        in two periods before adoption or more a period to measure from. With ``anticipation``, they are
        counted from the first period that may react.

    Returns
    -------
    Estimate
        A value for each outcome and ``time`` since adoption: 0 is the period of adoption.

    Raises
    ------
    ValueError
        As for :func:`att_gt`; more ``leads`` than the data tell apart; no group observed as long as ``balance`` asks.

    **References**: borusyak2024.
    """
    arguments.number(leads, "leads", least=0, whole=True, optional=True)
    found = _quantities(sample, outcome, anticipation, leads).event_study(balance)
    return found.about(options={"measured_from": "all earlier periods"})


def by_group(sample: Sample, *, outcome: Names = None, anticipation: float = 0) -> Estimate:
    """The effect on each adoption group, averaged over the periods since its adoption.

        theta(g) = mean over t >= g of ATT(g, t)

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, anticipation
        As for :func:`att_gt`.

    Returns
    -------
    Estimate
        A value for each outcome and ``adoption_group``.

    Raises
    ------
    ValueError
        As for :func:`att_gt`.

    **References**: borusyak2024.
    """
    return _quantities(sample, outcome, anticipation).by_group()


def by_period(sample: Sample, *, outcome: Names = None, anticipation: float = 0) -> Estimate:
    """The effect in each period on the units treated by then, averaged over their groups by size.

        theta(t) = sum over g <= t of ATT(g, t) W_g / sum over g <= t of W_g

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, anticipation
        As for :func:`att_gt`.

    Returns
    -------
    Estimate
        A value for each outcome and period (``time``).

    Raises
    ------
    ValueError
        As for :func:`att_gt`.

    **References**: borusyak2024.
    """
    return _quantities(sample, outcome, anticipation).by_period()


def att(sample: Sample, *, outcome: Names = None, anticipation: float = 0, average: str = "group") -> Estimate:
    """The average effect since adoption on the units that adopted while observed, in one number.

    ``average`` says over what: ``"group"``, each group's mean effect since its adoption, by the size of the group
    (every treated unit counts alike); ``"simple"``, all groups and periods since adoption by the size of the group
    (every treated observation counts alike, the default of the paper's own program); ``"event"``, the plain mean of
    the effects by time since adoption; ``"period"``, the plain mean of the effects by period.

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, anticipation
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

    **References**: borusyak2024.
    """
    return _quantities(sample, outcome, anticipation).att(average)


def _quantities(sample: Sample, outcome: Names, anticipation: float, leads: int | None = 0) -> Quantities:
    arguments.number(anticipation, "anticipation", least=0, most=1e6)
    how = ", covariates by period" if sample.covariates.shape[1] else ""
    early = f", reacting up to {anticipation:g} periods in advance" if anticipation else ""
    words = f"imputation from untreated observations (Borusyak, Jaravel and Spiess){how}{early}"
    cells = partial(_effects, anticipation=anticipation, leads=leads)
    return Quantities(sample, outcome, cells, {"method": words, "references": ("borusyak2024",)})


def _effects(sample: Sample, outcome: Outcome, *, anticipation: float, leads: int | None) -> Effects:
    seen = observed(sample, outcome, anticipation)
    T, q = len(seen.periods), seen.z.shape[1]
    rest = seen.weights
    fit = unit_effects.fit(seen.y, seen.before, np.zeros(len(rest), int), np.eye(T)[None], seen.z, rest)
    wanted = [(g, t) for g in seen.groups for t in range(T) if seen.periods[t] >= g]
    rows = {g: np.flatnonzero((seen.first == g) & (rest > 0)) for g in seen.groups}
    gradient = np.zeros((len(wanted), T, q))
    for c, (g, t) in enumerate(wanted):
        gradient[c] = _pull(fit, rows[g][seen.since[rows[g], t]], t)
    there = np.abs(gradient).sum(axis=(1, 2)) > 0
    there[there] = fit.estimable(gradient[there])
    notes = seen.notes + lacking(
        [(g, seen.periods[t]) for (g, t), ok in zip(wanted, there, strict=True) if not ok], len(wanted), outcome,
        "because nobody untreated is seen then from whom to impute",
    )  # fmt: skip
    if not there.any():
        raise ValueError(
            f"Nothing can be imputed for the {sum(map(len, rows.values())):,} units that adopt "
            f"(`{sample.study.adoption}`) in `{outcome.name}`: in no period since adoption is anybody untreated seen "
            "to compare with; add units that adopt later or never."
        )
    done = [cell for cell, ok in zip(wanted, there, strict=True) if ok]
    scores = fit.carry(-gradient[there])
    value = np.zeros(len(done))
    for c, (g, t) in enumerate(done):
        mine = rows[g][seen.since[rows[g], t]]
        w = rest[mine] / rest[mine].sum()
        value[c] = w @ fit.residual[mine, t]
        scores[mine, c] += w * (fit.residual[mine, t] - value[c])
    found = Effects(
        np.array([g for g, _ in done]), seen.periods[[t for _, t in done]], value, scores, seen.first, rest,
        tuple(notes), q - 1,
    )  # fmt: skip
    return found if leads == 0 else _with_leads(found, seen, rest, anticipation, leads)


def _pull(fit: UnitEffects, mine: Array, t: int) -> Array:
    """(T, q): the derivative in the period effects of what is imputed, on average, for these units in period t."""
    w = fit.weights[mine]
    out = np.zeros((fit.residual.shape[1], fit.z.shape[1]))
    if not len(mine):
        return out
    w = w / w.sum()
    own = fit.fitted[mine] / fit.fitted[mine].sum(axis=1, keepdims=True)
    out -= own.T @ (w[:, None] * fit.z[mine])
    out[t] += w @ fit.z[mine]
    return out


def _with_leads(found: Effects, seen: Observed, w: Array, anticipation: float, leads: int | None) -> Effects:
    """The cells with those before adoption, which are one for all groups: each group shows the same lead."""
    early = np.array([(seen.periods + anticipation < g).sum() for g in seen.groups])
    most = int(early.max()) - 1
    count = leads if leads is not None else int(early[early > 1].min(initial=most + 1)) - 1
    last = {g: int(np.flatnonzero(seen.periods + anticipation < g)[-1]) for g in seen.groups}
    T, q = len(seen.periods), seen.z.shape[1]
    if leads is not None and leads > most:
        raise ValueError(_too_many(seen, leads, most))
    terms = np.zeros((1 + len(seen.groups), T, T + count))
    terms[:, :, :T] = np.eye(T)
    for k, g in enumerate(seen.groups):
        for e in range(min(count, last[g] + 1)):
            terms[1 + k, last[g] - e, T + e] = 1.0
    kind = np.where(np.isin(seen.first, seen.groups), 1 + np.searchsorted(seen.groups, seen.first), 0)
    free = np.ones((T + count, q), bool)
    free[T:, 1:] = False
    fit = unit_effects.fit(seen.y, seen.before, kind, terms, seen.z, w, free)
    gradient = np.zeros((count, T + count, q))
    gradient[np.arange(count), T + np.arange(count), 0] = 1.0
    told = fit.estimable(gradient) if count else np.zeros(0, bool)
    if leads is not None and not told.all():
        raise ValueError(_too_many(seen, leads, int(told.sum())))
    value, scores = fit.coefficients[T:, 0], fit.carry(gradient)
    cells = [(g, seen.periods[last[g] - e], e) for g in seen.groups for e in range(count) if told[e] and last[g] >= e]
    notes = found.notes
    if leads is None and not told.all() or not count:
        notes += ("Fewer periods before adoption can be tested than there are: the data do not tell them from unit and "
                  "period effects.",)  # fmt: skip
    which = [e for _, _, e in cells]
    return found._replace(
        group=np.concatenate([[g for g, _, _ in cells], found.group]),
        time=np.concatenate([[t for _, t, _ in cells], found.time]),
        value=np.concatenate([value[which], found.value]),
        scores=np.column_stack([scores[:, which], found.scores]),
        notes=notes,
    )


def _too_many(seen: Observed, leads: int, most: int) -> str:
    return (
        f"`leads` is {leads}, and of the periods of `{seen.outcome.name}` before adoption {max(most, 0)} can be told "
        "from unit and period effects, since an earlier one is needed to measure from: ask for at most that."
    )
