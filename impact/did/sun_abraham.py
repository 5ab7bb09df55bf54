"""Effects of staggered adoption by an interaction-weighted regression, after Sun and Abraham."""

from __future__ import annotations

import numpy as np

from impact.core import arguments
from impact.did import two_way_fit, two_way_panel
from impact.did.aggregate import Quantities
from impact.did.cells import Effects
from impact.did.two_way_fit import Terms
from impact.did.two_way_panel import Options, Panel
from impact.estimate import Estimate
from impact.sample import Sample, caution
from impact.study import Outcome

Array = np.ndarray
Names = str | list[str] | None

COMPARISONS = {"never": "units never treated (without any, the last to adopt)", "last": "the last units to adopt"}


def att_gt(sample: Sample, *, outcome: Names = None, comparison: str = "never", anticipation: float = 0) -> Estimate:
    """The effect in each period on each adoption group, from one regression that keeps all of them apart.

        y_it = a_i + d_t + x_i'c_t + sum over g and t of ATT(g, t) 1{i adopts in g} 1{period t} + e_it

    without each group's last period before adoption (less anticipation), from which its effects
    are measured. The period effects are those of the units never treated or, where there are none, of the last
    group to adopt in the periods before it does. Effects before g are placebos: they should be zero.

    **Assumptions**: without treatment, outcomes of each group and of the comparison units would have moved in
    parallel, given covariates with effects of their own in each period; nobody reacts earlier than
    ``anticipation`` periods before adoption; treatment is never undone; units do not affect each other.

    Parameters
    ----------
    sample : Sample
        With ``adoption`` and an outcome over time.
    outcome : str or several, optional
        All outcomes over time, if left out.
    comparison : ``"never"`` or ``"last"``
        Whose changes stand for those without treatment: units never treated while observed (if there are none,
        the last to adopt, which is noted), or the last to adopt.
    anticipation : number
        Periods before adoption in which units may already react.

    Returns
    -------
    Estimate
        A value for each outcome, ``adoption_group`` and period (``time``), in the outcome's unit.

    Raises
    ------
    ValueError
        No adoption or no outcome over time; nobody to compare with.

    **References**: sun2021.

    Examples
    --------
    >>> import pandas as pd
    >>> from impact import Outcome, Study, emulate
    >>> from impact.did import sun_abraham
    >>> table = pd.DataFrame({"office": range(6), "start": [3, 3, 3, None, None, None],
    ...                       "open_1": [5, 4, 6, 1, 2, 4], "open_2": [6, 4, 8, 2, 4, 4], "open_3": [9, 7, 9, 2, 5, 5]})
    >>> study = Study(title="One-stop offices", unit="office", adoption="start",
    ...               outcomes=Outcome("open_{}", "open cases", periods=(1, 2, 3)))
    >>> [round(float(v), 2) for v in sun_abraham.att_gt(emulate(study, table)).value]
    [0.0, 1.67]
    """
    return _quantities(sample, outcome, comparison, anticipation).att_gt()


def event_study(
    sample: Sample,
    *,
    outcome: Names = None,
    comparison: str = "never",
    anticipation: float = 0,
    balance: int | None = None,
) -> Estimate:
    """The effect by time since adoption, averaged over adoption groups by their size.

        theta(e) = sum over g of ATT(g, g + e) W_g / sum over g of W_g

    over the groups observed e periods after adoption, W_g being their weight: what Sun and Abraham call
    interaction-weighted, the groups' sizes being estimated too.

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, comparison, anticipation
        As for :func:`att_gt`.
    balance : int, optional
        Keep only groups observed at least this many periods after adoption, and effects up to there.

    Returns
    -------
    Estimate
        A value for each outcome and ``time`` since adoption: 0 is the period of adoption.

    Raises
    ------
    ValueError
        As for :func:`att_gt`; no group observed as long as ``balance`` asks.

    **References**: sun2021.
    """
    return _quantities(sample, outcome, comparison, anticipation).event_study(balance)


def by_group(sample: Sample, *, outcome: Names = None, comparison: str = "never", anticipation: float = 0) -> Estimate:
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

    **References**: sun2021.
    """
    return _quantities(sample, outcome, comparison, anticipation).by_group()


def by_period(sample: Sample, *, outcome: Names = None, comparison: str = "never", anticipation: float = 0) -> Estimate:
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

    **References**: sun2021.
    """
    return _quantities(sample, outcome, comparison, anticipation).by_period()


def att(
    sample: Sample, *, outcome: Names = None, comparison: str = "never", anticipation: float = 0, average: str = "group"
) -> Estimate:
    """The average effect since adoption on the units that adopted while observed, in one number.


    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, comparison, anticipation
        As for :func:`att_gt`.
    average : ``"group"``, ``"simple"``, ``"event"`` or ``"period"``
        Over groups by their size; over groups and periods since adoption; the plain mean of the event study since
        adoption; the plain mean of the effects by period.

    Returns
    -------
    Estimate
        One value for each outcome.

    Raises
    ------
    ValueError
        As for :func:`att_gt`; an ``average`` that is not one of the four.

    **References**: sun2021.
    """
    return _quantities(sample, outcome, comparison, anticipation).att(average)


def _quantities(sample: Sample, outcome: Names, comparison: str, anticipation: float) -> Quantities:
    arguments.option(comparison, "comparison", COMPARISONS)
    options = Options(anticipation=anticipation)

    def cells(sample: Sample, outcome: Outcome) -> Effects:
        return effects(sample, outcome, comparison, options)

    covariates = (
        "covariates with effects of their own in each period" if sample.covariates.shape[1] else "no covariates"
    )
    early = f", reacting up to {anticipation:g} periods in advance" if anticipation else ""
    words = f"Sun and Abraham, {covariates}, against {COMPARISONS[comparison]}{early}"
    return Quantities(sample, outcome, cells, {"method": words, "references": ("sun2021",)})


def effects(sample: Sample, outcome: Outcome, comparison: str, options: Options) -> Effects:
    """All cells of one outcome that the comparison units and the periods seen can tell."""
    panel, notes = _against(
        two_way_panel.panel_of(sample, outcome, options, after=True), sample, outcome, comparison, options
    )
    base = {
        int(g): int(np.flatnonzero(panel.periods + options.anticipation < panel.first[g])[-1])
        for g in np.flatnonzero(np.isfinite(panel.first))
    }
    cells = [(g, t) for g in base for t in range(len(panel.periods)) if t != base[g]]
    pattern = np.zeros((len(panel.first), len(panel.periods), len(cells)))
    for c, (g, t) in enumerate(cells):
        pattern[g, t, c] = 1.0
    fit = two_way_fit.regression(outcome, panel, Terms({}, pattern), options, all_observations=False)
    linked = _linked(panel, base)
    place = {int(c): k for k, c in enumerate(fit.kept) if c < len(cells)}
    told = [c for c, cell in enumerate(cells) if cell in linked and c in place]
    if len(told) < len(cells):
        notes += caution([
            f"{len(cells) - len(told)} of {len(cells)} combinations of adoption group and period of `{outcome.name}` "
            "cannot be told from the units that are seen in them, and no effect is given for them."
        ])  # fmt: skip
    at = [place[c] for c in told]
    return Effects(
        panel.first[[cells[c][0] for c in told]],
        panel.periods[[cells[c][1] for c in told]],
        fit.coefficients[at],
        fit.scores[:, at],
        panel.first[panel.group],
        panel.weights,
        (*panel.notes, *notes),
        fitted=sample.covariates.shape[1],
    )


def _against(
    panel: Panel, sample: Sample, outcome: Outcome, comparison: str, options: Options
) -> tuple[Panel, tuple[str, ...]]:
    """The panel in which whoever is compared with is never treated: cut, if need be, before the last adopt."""
    never = np.isinf(panel.first)
    if comparison == "never" and never.any():
        return panel, ()
    n, last = int(panel.used.sum()), panel.first[~never].max()
    kept = panel.periods + options.anticipation < last
    early = ~never & (panel.first < last)
    if not early.any() or kept.sum() < 2 or not (panel.first[early] <= panel.periods[kept][-1]).any():
        raise ValueError(
            f"There is nobody to compare with among the {n:,} units of `{outcome.name}`: none adopts "
            f"(`{sample.study.adoption}`) before the last do, in {last:g}, and is seen then. Add units that adopt at "
            "other times or never."
        )
    weights = np.where(never[panel.group], 0.0, panel.weights)
    first = np.where(panel.first == last, np.inf, panel.first)
    size = int((panel.used & (panel.first == last)[panel.group]).sum())
    note = f"The {size:,} units that adopt last, in {last:g}, are compared with, in the periods before they do."
    if comparison == "never":
        note = f"No unit of `{outcome.name}` is never treated. {note}"
    elif never.any():
        note += f" {int((panel.used & never[panel.group]).sum()):,} units never treated are left out."
    order, group = np.unique(first[panel.group], return_inverse=True)
    cut = panel.periods[kept]
    start = np.searchsorted(cut, order)
    moved = Panel(panel.outcome[:, kept], cut, order, start, group, weights, panel.covariates, panel.notes)
    return moved, caution([note]) if comparison == "never" else (note,)


def _linked(panel: Panel, base: dict[int, int]) -> set[tuple[int, int]]:
    """The cells whose group and whose comparison units are both seen, directly or by way of others, with the base."""
    periods = range(len(panel.periods))
    if not panel.gaps:
        return {(g, t) for g in base for t in periods}
    part = {g: _parts(panel, g) for g in (*base, int(np.flatnonzero(np.isinf(panel.first))[0]))}
    other = part[int(np.flatnonzero(np.isinf(panel.first))[0])]
    return {(g, t) for g, b in base.items() for t in periods
            if part[g][t] == part[g][b] >= 0 and other[t] == other[b] >= 0}  # fmt: skip


def _parts(panel: Panel, group: int) -> Array:
    """(T,) which periods units of a group link, by a common number; negative where none is seen."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    seen = panel.seen[panel.group == group]
    if panel.repeated:  # the group's own constant links whatever is seen of it
        return np.where(seen.any(axis=0), 0, -1)
    links = seen.astype(float).T @ seen
    number = connected_components(csr_array(links), directed=False)[1]
    return np.where(seen.any(axis=0), number, -1)
