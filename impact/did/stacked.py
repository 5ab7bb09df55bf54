"""Effects of a programme adopted at different times, from one clean comparison for each adoption group, stacked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from impact.core import arguments, doubly_robust
from impact.did.aggregate import Quantities
from impact.did.cells import Effects
from impact.did.observed import Observed, observed
from impact.estimate import Estimate
from impact.sample import Sample, caution, told
from impact.show.words import listing
from impact.study import Outcome

Array = np.ndarray
Names = str | list[str] | None

METHODS = {"dr": "doubly robust", "reg": "outcome regression", "ipw": "inverse probability weighting"}
STACKINGS = {
    "corrective": "weighted by treated units (corrective weights)",
    "regression": "weighted as a regression does",
}


def event_study(
    sample: Sample,
    *,
    outcome: Names = None,
    pre: int | None = None,
    post: int | None = None,
    method: str = "dr",
    stacking: str = "corrective",
) -> Estimate:
    """The effect by time since adoption, on the same adoption groups at every time.

    Each group first treated in period g makes a stack: the periods from ``pre`` before g to ``post`` after, its
    units, and clean comparison units, which are first treated after g + post or never. Groups that are not observed
    over the whole window, or have no clean comparison, make none. Within the stack of g, with N_g its treated
    units, the effect e periods after adoption is the change since the period before it, less that of comparison units;

        theta(e) = sum over g of DiD(g, g + e) N_g / sum over g of N_g,

    which is the regression of Wing, Freedman and Hollingsworth (2024) on all stacks with corrective weights: those
    make comparison units of each stack count as its treated do. Without them (``stacking="regression"``, as in
    Cengiz and others 2019, with effects of unit and of period in each stack) the weights are n_g m_g / (n_g + m_g),
    m_g being the comparison units: what is estimated then depends on how many there happen to be.

    **Assumptions**: without treatment, outcomes of the treated units of a stack and of its comparison units with the
    same covariates would have moved in parallel; nobody reacts before adoption; treatment is never undone; units do
    not affect each other.

    Parameters
    ----------
    sample : Sample
        With ``adoption`` and an outcome over time. Covariates are those of the first period, adjusted for in
        each stack.
    outcome : str or several, optional
        All outcomes over time, if left out.
    pre : int, optional
        Periods before adoption in the window, at least 1. If left out, as many as every group has that is seen in one,
        and at most 3.
    post : int, optional
        Periods after that of adoption in the window, at least 0. If left out, as many as all groups are observed with
        clean comparison units, and at most 5.
    method : ``"dr"``, ``"reg"`` or ``"ipw"``
        How comparison units are made alike in covariates.
    stacking : ``"corrective"`` or ``"regression"``

    Returns
    -------
    Estimate
        A value for each outcome and ``time`` since adoption; the period before it is the base and left out. The scores
        of a unit that is in several stacks are summed.

    Raises
    ------
    ValueError
        No adoption or no outcome over time; no group observed over the whole window with somebody to compare with;
        covariates that allow no estimate.

    **References**: wing2024; cengiz2019.

    Examples
    --------
    >>> import pandas as pd
    >>> from impact import Outcome, Study, emulate
    >>> from impact.did import stacked
    >>> table = pd.DataFrame({"office": range(6), "start": [3, 3, 3, None, None, None],
    ...                       "open_1": [5, 4, 6, 1, 2, 4], "open_2": [6, 4, 8, 2, 4, 4], "open_3": [9, 7, 9, 2, 5, 5]})
    >>> study = Study(title="One-stop offices", unit="office", adoption="start",
    ...               outcomes=Outcome("open_{}", "open cases", periods=(1, 2, 3)))
    >>> [round(float(v), 2) for v in stacked.event_study(emulate(study, table)).value]
    [-0.0, 1.67]
    """
    return _quantities(sample, outcome, _Options(pre, post, method, stacking)).event_study()


def att(
    sample: Sample,
    *,
    outcome: Names = None,
    pre: int | None = None,
    post: int | None = None,
    method: str = "dr",
    stacking: str = "corrective",
) -> Estimate:
    """The average effect over the window since adoption: the plain mean of the event study from adoption on.

        theta = mean over e = 0..post of theta(e)

    **Assumptions**: as for :func:`event_study`.

    Parameters
    ----------
    sample : Sample
    outcome, pre, post, method, stacking
        As for :func:`event_study`.

    Returns
    -------
    Estimate
        One value for each outcome.

    Raises
    ------
    ValueError
        As for :func:`event_study`.

    **References**: wing2024; cengiz2019.
    """
    return _quantities(sample, outcome, _Options(pre, post, method, stacking)).att("event")


@dataclass(frozen=True)
class _Options:
    pre: int | None
    post: int | None
    method: str
    stacking: str

    def __post_init__(self) -> None:
        arguments.number(self.pre, "pre", least=1, most=1e6, whole=True, optional=True)
        arguments.number(self.post, "post", least=0, most=1e6, whole=True, optional=True)
        arguments.option(self.method, "method", METHODS)
        arguments.option(self.stacking, "stacking", STACKINGS)


class _Stack(NamedTuple):
    """A sub-experiment: its group, the columns of its window, the base column, and its rows with who is treated."""

    group: float
    at: Array
    base: int
    rows: Array
    treated: Array


def _quantities(sample: Sample, outcome: Names, options: _Options) -> Quantities:
    how = METHODS[options.method] if sample.covariates.shape[1] else "no covariates"
    words = f"stacked difference in differences, {how}, {STACKINGS[options.stacking]}, against clean comparison units"

    def cells(sample: Sample, outcome: Outcome) -> Effects:
        return _effects(sample, outcome, options)

    return Quantities(sample, outcome, cells, {"method": words, "references": ("wing2024", "cengiz2019")})


def _effects(sample: Sample, outcome: Outcome, options: _Options) -> Effects:
    seen = observed(sample, outcome, 0)
    pre, post = _window(seen, options)
    stacks, notes = _stacks(sample, seen, pre, post)
    values, scores, size, size_scores = [], [], [], []
    certain: set[str] = set()
    for s in stacks:
        value, score, names = _differences(sample, seen, s, options.method)
        certain.update(names)
        values.append(value)
        scores.append(score)
        size.append(_size(s, seen.weights, options.stacking))
        size_scores.append(_size_scores(s, seen.weights, options.stacking))
    if certain:
        notes += caution([f"Some units are certain to be treated, or not to be, by {listing(sorted(certain))} in some "
                          f"stacks of `{outcome.name}`: they have nobody to be compared with there."])  # fmt: skip
    # One path for all groups, so that averages over groups, whatever their weights, give it back.
    share = np.array(size) / np.sum(size)
    each = np.array(values)
    path = share @ each
    pull = np.zeros((len(sample), len(path)))
    for k, s in enumerate(stacks):
        pull[s.rows] += share[k] * scores[k] + np.outer(size_scores[k], each[k] - path) / np.sum(size)
    C = len(path)
    ages = (stacks[0].at - stacks[0].base - 1) * (seen.periods[1] - seen.periods[0])
    group = np.repeat([s.group for s in stacks], C)
    inside = np.isin(seen.first, group)
    first = np.where(inside | (seen.first > seen.periods[-1]), seen.first, -np.inf)
    which = np.tile(np.arange(C), len(stacks))
    fitted = 0 if options.method == "ipw" else sample.covariates.shape[1]
    return Effects(
        group, group + ages[which], path[which], pull[:, which], first, seen.weights, tuple(notes), fitted
    )  # fmt: skip


def _window(seen: Observed, options: _Options) -> tuple[int, int]:
    """Periods before and after adoption that are compared."""
    T = len(seen.periods)
    place = np.searchsorted(seen.periods, seen.groups)
    never = bool(((seen.first > seen.periods[-1]) & (seen.weights > 0)).any())
    pre = options.pre if options.pre is not None else min(int(place.min()), 3)
    if options.post is not None:
        return pre, options.post
    # Without units never treated the last group is nobody's to compare with: it is the comparison of the others.
    last = place if never else place[:-1]
    end = T if never else int(place[-1])
    return pre, min(int(end - 1 - last.max()), 5) if len(last) else 0


def _stacks(sample: Sample, seen: Observed, pre: int, post: int) -> tuple[list[_Stack], list[str]]:
    T, notes, stacks = len(seen.periods), list(seen.notes), []
    short, alone = [], []
    step = seen.periods[1] - seen.periods[0]
    complete = np.isfinite(seen.y)
    partly = np.zeros(len(seen.y), bool)
    for g in seen.groups:
        place = int(np.searchsorted(seen.periods, g))
        if place - pre < 0 or place + post >= T:
            short.append(g)
            continue
        at = np.arange(place - pre, place + post + 1)
        member = seen.first == g
        could = (seen.weights > 0) & (member | (seen.first > g + post * step))
        whole = could & complete[:, at].all(axis=1)
        partly |= could & ~whole
        rows = np.flatnonzero(whole)
        if not member[rows].any() or member[rows].all():
            alone.append(g)
            continue
        stacks.append(_Stack(g, at[at != place - 1], place - 1, rows, member[rows]))
    window = f"the window from {pre} periods before adoption to {post} after"
    if not stacks:
        raise ValueError(
            f"None of the {len(seen.groups)} adoption groups (`{sample.study.adoption}`) of `{seen.outcome.name}` "
            f"makes a stack: {len(short)} are not observed over {window}, and {len(alone)} have nobody there who is "
            "first treated after it; set a shorter `pre` and `post`."
        )
    for groups, why in (
        (short, f"are not observed over {window}"),
        (alone, f"have nobody to compare with in {window}"),
    ):
        if groups:
            units = int(((seen.weights > 0) & np.isin(seen.first, groups)).sum())
            which = listing(f"{g:g}" for g in groups[:8]) + (" and more" if len(groups) > 8 else "")
            notes.append(
                f"{len(groups)} of {len(seen.groups)} adoption groups ({which}, {units:,} units) {why}, and are left "
                "out."
            )
    notes.append(f"Each stack has {window}.")
    if partly.any():
        notes.append(f"{int(partly.sum()):,} units are left out of stacks in whose window they are not always seen.")
    return stacks, notes


def _differences(sample: Sample, seen: Observed, s: _Stack, method: str) -> tuple[Array, Array, tuple[str, ...]]:
    """(E,) differences in differences of a stack, (rows, E) scores, and what makes some units certain of treatment."""
    y, x = seen.y[s.rows], sample.covariates[s.rows]
    change = y[:, s.at] - y[:, [s.base]]
    names = told(sample.covariate_names, sample.covariates)
    try:
        found = doubly_robust.levels(change, s.treated, x, seen.weights[s.rows], "ATT", method, names)
    except ValueError as reason:
        raise ValueError(
            f"The effect on `{seen.outcome.name}` for the {int(s.treated.sum())} units first treated in {s.group:g} "
            f"cannot be estimated with these covariates. {reason} Or leave this group out by an eligibility rule."
        ) from reason
    certain = found.propensity.separated.names if found.propensity is not None else ()
    return found.treated - found.comparison, found.treated_scores - found.comparison_scores, tuple(certain)


def _size(s: _Stack, w: Array, stacking: str) -> float:
    n, m = w[s.rows] @ s.treated, w[s.rows] @ ~s.treated
    return float(n if stacking == "corrective" else n * m / (n + m))


def _size_scores(s: _Stack, w: Array, stacking: str) -> Array:
    n, m = w[s.rows] @ s.treated, w[s.rows] @ ~s.treated
    if stacking == "corrective":
        return np.asarray(w[s.rows] * s.treated)
    return np.asarray(w[s.rows] * np.where(s.treated, (m / (n + m)) ** 2, (n / (n + m)) ** 2))
