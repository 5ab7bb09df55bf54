"""Triple differences: a programme that reaches only some of the units where it is adopted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from impact.core import arguments, doubly_robust
from impact.core.corners import Corners
from impact.core.inference import cluster_sums, covariance
from impact.core.small_sample import Arms
from impact.did.aggregate import Quantities
from impact.did.cells import Effects
from impact.did.observed import Observed, lacking, observed
from impact.did.options import BASES, COMPARISONS, METHODS
from impact.estimate import Estimate
from impact.sample import Sample, caution, told
from impact.show.words import listing
from impact.study import Outcome

Array = np.ndarray
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
    options = _Options(method, comparison, anticipation, base)
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
    options = _Options(method, comparison, anticipation, base)
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
    options = _Options(method, comparison, anticipation)
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
    options = _Options(method, comparison, anticipation)
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
    options = _Options(method, comparison, anticipation)
    return _estimate(sample, outcome, affected, options, lambda q: q.att(average))


@dataclass(frozen=True)
class _Options:
    method: str
    comparison: str
    anticipation: float
    base: str = "varying"

    def __post_init__(self) -> None:
        arguments.option(self.method, "method", METHODS)
        arguments.option(self.comparison, "comparison", COMPARISONS)
        arguments.option(self.base, "base", BASES)
        arguments.number(self.anticipation, "anticipation", least=0, most=1e6)


class _Cell(NamedTuple):
    group: float
    at: int
    base: int


def _estimate(
    sample: Sample, outcome: Names, affected: str | None, options: _Options, ask: Callable[[Quantities], Estimate]
) -> Estimate:
    inside, x, names, word = _affected(sample, affected)
    sample = _with_adoption(sample, outcome)
    how = METHODS[options.method] if x.shape[1] else "no covariates"
    early = f", reacting up to {options.anticipation:g} periods in advance" if options.anticipation else ""
    about = {
        "method": f"triple differences by {word} (Ortiz-Villavicencio and Sant'Anna), {how}, against "
        f"{COMPARISONS[options.comparison]}{early}",
        "references": ("ortiz2025", "gruber1994", "santanna2020"),
    }

    def cells(sample: Sample, outcome: Outcome) -> Effects:
        return _Work(sample, observed(sample, outcome, options.anticipation), inside, x, names, options).effects()

    return _with_corners(ask(Quantities(sample, outcome, cells, about)), sample, inside)


def _with_corners(found: Estimate, sample: Sample, inside: Array) -> Estimate:
    """With errors that know how many clusters are in each of the four groups, where clusters lie within them."""
    arms, codes = found.small, found.cluster
    assert isinstance(arms, Arms) and codes is not None and sample.adoption is not None
    live = sample.weights > 0
    if sample.nuisance is not None:
        live = live | (sample.nuisance.influence != 0).any(axis=1)
    mark, first = np.zeros(len(arms.sums), bool), np.zeros(len(arms.sums))
    mark[codes], first[codes] = inside[live], sample.adoption[live]
    if (mark[codes] != inside[live]).any() or (first[codes] != sample.adoption[live]).any():
        return found  # clusters hold several of the groups, and are compared as they are
    treated = first[arms.treated.any(axis=1)]
    never = ~np.isin(first, treated) & (first > treated.min())
    corner = np.empty(arms.sums.shape, int)
    for k in range(arms.sums.shape[1]):
        adopts = np.isin(first, first[arms.treated[:, k]])
        # A mean of one unit leaves it no score: who belongs to a group is told by that, not by the score.
        corner[:, k] = np.where(adopts | never | (arms.sums[:, k] != 0), 2 * ~adopts + ~mark, -1)
    small = Corners(arms.sums, corner, arms.fitted)
    lone = int((small.counts.min(axis=0) < 2).sum())
    alone = [
        f"{lone} of {len(found.value)} values rest on a single cluster (`{sample.study.cluster or sample.study.unit}`) "
        "in one of the four groups compared, from which no standard error can be computed."
    ]
    return replace(found, small=small, notes=(*found.notes, *caution(alone[:lone])))


def _with_adoption(sample: Sample, outcome: Names) -> Sample:
    """A sample of two arms and two periods as one in which the treated adopt in the second."""
    seen = [sample.periods[o.name] for o in sample.measured(outcome) if o.name in sample.periods]
    if sample.adoption is not None or not seen or any(len(p) != 2 or p[1] != seen[0][1] for p in seen):
        return sample
    treated = next(iter(sample.arms.values()))
    return replace(sample, adoption=np.where(treated, seen[0][1], np.inf))


def _affected(sample: Sample, name: str | None) -> tuple[Array, Array, tuple[str, ...], str]:
    """Who is affected (n,), the other covariates (n, p) with their names, and the name of the column."""
    marks = sample.characteristics
    binary = [
        term for term, at in sample.terms.items()
        if len(at) == 1 and ":" not in term and np.isin(marks[:, at[0]], (0, 1)).all()
    ]  # fmt: skip
    if name is None:
        if len(binary) != 1:
            raise ValueError(
                f"A triple difference needs to know whom the programme may reach, and {len(binary)} of "
                f"{len(sample.terms)} covariates of the study are yes or no: name the one as `affected`."
            )
        name = binary[0]
    arguments.text(name, "affected")
    single = name in sample.characteristic_names
    at = (sample.characteristic_names.index(name),) if single else sample.columns_of(name)
    values = marks[:, at[0]]
    if len(at) != 1 or not np.isin(values, (0, 1)).all():
        raise ValueError(
            f"`affected` names `{name}`, which makes {len(at)} columns or holds other values than 0 and 1: name a "
            "covariate that is 1 for those whom the programme may reach and 0 for others."
        )
    own = {t for t, places in sample.terms.items() if at[0] in places}
    bare = {t.removeprefix("C(").removesuffix(")") for t in own} | own
    gone = {sample.characteristic_names[j] for t, places in sample.terms.items()
            if bare & {p.strip() for p in t.replace("*", ":").split(":")} or t in own for j in places}  # fmt: skip
    kept = [j for j, c in enumerate(sample.covariate_names) if c not in gone]
    x = sample.covariates[:, kept]
    return values == 1, x, told(tuple(sample.covariate_names[j] for j in kept), x), sample.study.say(name)


@dataclass(frozen=True, eq=False)
class _Work:
    """The cells of one outcome."""

    sample: Sample
    seen: Observed
    inside: Array
    x: Array
    names: tuple[str, ...]
    options: _Options

    def effects(self) -> Effects:
        seen, options = self.seen, self.options
        wanted = [c for g in seen.groups for c in self._wanted(g)]
        found: dict[_Cell, tuple[float, Array]] = {}
        certain: set[str] = set()
        for g in seen.groups:
            mine = [c for c in wanted if c.group == g]
            gaps = np.isnan(seen.y[:, sorted({k for c in mine for k in (c.at, c.base)})]).any()
            by_rivals: dict[tuple[float, ...], list[_Cell]] = {}
            for c in mine:
                by_rivals.setdefault(self._rivals(c), []).append(c)
            for rivals, same in by_rivals.items():
                for some in [[c] for c in same] if gaps else [same]:
                    found.update(self._combined(some, rivals, certain))
        lost = [(c.group, float(seen.periods[c.at])) for c in wanted if c not in found]
        why = f"because affected or other units are missing there or among {COMPARISONS[options.comparison]}"
        notes = seen.notes + lacking(lost, len(wanted), seen.outcome, why)
        if certain:
            notes += caution([f"Some units are certain of their group by {listing(sorted(certain))} in comparisons of "
                              f"`{seen.outcome.name}`: they have nobody to be compared with there."])  # fmt: skip
        if np.isnan(seen.y[seen.weights > 0]).any():
            notes.append(f"Each effect on `{seen.outcome.name}` rests on the units seen in both of its periods.")
        self._refuse_nothing(found, wanted)
        done = [c for c in wanted if c in found]
        return Effects(
            np.array([c.group for c in done]),
            seen.periods[[c.at for c in done]],
            np.array([found[c][0] for c in done]),
            np.column_stack([found[c][1] for c in done]),
            np.where(self.inside | ~np.isin(seen.first, seen.groups), seen.first, -np.inf),
            seen.weights * self.inside,
            tuple(notes),
            0 if options.method == "ipw" else self.x.shape[1],
        )

    def _wanted(self, g: float) -> list[_Cell]:
        periods, options = self.seen.periods, self.options
        before = int(np.flatnonzero(periods + options.anticipation < g)[-1])
        bases = [before if options.base == "universal" or t >= g else k - 1 for k, t in enumerate(periods)]
        return [_Cell(float(g), k, b) for k, b in enumerate(bases) if b not in (k, -1)]

    def _rivals(self, cell: _Cell) -> tuple[float, ...]:
        """The groups to compare with, each on its own; infinity stands for all that adopt after the last period."""
        last = max(self.seen.periods[cell.at], self.seen.periods[cell.base]) + self.options.anticipation
        later = tuple(g for g in self.seen.groups if g > last and g != cell.group)
        return (*(later if self.options.comparison == "not_yet" else ()), np.inf)

    def _combined(
        self, cells: list[_Cell], rivals: tuple[float, ...], certain: set[str]
    ) -> dict[_Cell, tuple[float, Array]]:
        """Each cell's estimate: of one comparison group, or the average of several with the smallest variance."""
        each = [part for r in rivals if (part := self._against(cells, r, certain)) is not None]
        if not each:
            return {}
        value, scores = np.stack([v for v, _ in each]), np.stack([s for _, s in each])
        out = {}
        for k, c in enumerate(cells):
            share = np.ones(1)
            if len(each) > 1:
                spread = covariance(cluster_sums(scores[:, :, k].T, self.sample.cluster))
                share = np.linalg.pinv(spread, hermitian=True, rcond=1e-10).sum(axis=0)
                share = share / share.sum()
            out[c] = float(share @ value[:, k]), share @ scores[:, :, k]
        return out

    def _against(self, cells: list[_Cell], rival: float, certain: set[str]) -> tuple[Array, Array] | None:
        """(C,) values and (n, C) scores of cells of one group that are compared with one other."""
        seen = self.seen
        change = seen.y[:, [c.at for c in cells]] - seen.y[:, [c.base for c in cells]]
        there = (seen.weights > 0) & np.isfinite(change).all(axis=1)
        member = seen.first == cells[0].group
        other = seen.first > seen.periods[-1] + self.options.anticipation if np.isinf(rival) else seen.first == rival
        target = there & member & self.inside
        parts = (
            (there & member & ~self.inside, 1),
            (there & other & self.inside, 1),
            (there & other & ~self.inside, -1),
        )
        if not target.any() or not all(p.any() for p, _ in parts):
            return None
        value, scores = np.zeros(len(cells)), np.zeros(change.shape)
        for part, sign in parts:
            rows = target | part
            try:
                found = doubly_robust.levels(
                    change[rows], target[rows], self.x[rows], seen.weights[rows], "ATT", self.options.method, self.names
                )
            except ValueError as reason:
                raise ValueError(
                    f"The effect on `{seen.outcome.name}` for the {int(target.sum())} affected units first treated in "
                    f"{cells[0].group:g} cannot be estimated with these covariates. {reason} Or leave this group out "
                    "by an eligibility rule."
                ) from reason
            if found.propensity is not None:
                certain.update(found.propensity.separated.names)
            value += sign * (found.treated - found.comparison)
            scores[rows] += sign * (found.treated_scores - found.comparison_scores)
        return value, scores

    def _refuse_nothing(self, found: dict[_Cell, tuple[float, Array]], wanted: list[_Cell]) -> None:
        if found:
            return
        seen, used = self.seen, self.seen.weights > 0
        adopts = np.isin(seen.first, seen.groups)
        counts = [int((used & a & b).sum()) for a in (adopts, ~adopts) for b in (self.inside, ~self.inside)]
        raise ValueError(
            f"None of {len(wanted)} triple differences of `{seen.outcome.name}` can be formed: there are {counts[0]} "
            f"affected and {counts[1]} other units that adopt, {counts[2]} and {counts[3]} that do not; all four are "
            "needed, or comparison='not_yet'."
        )
