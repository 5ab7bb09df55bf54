"""Effects by adoption group and period, the building blocks of staggered difference in differences.

Every estimator of this topic is an average of these cells. They are computed here as arrays, with
their scores, so that whatever is averaged keeps its covariance.

References: callaway2021, santanna2020.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from impact.core import arguments, cross_sections, doubly_robust, staggered
from impact.core.linear import coordinates
from impact.did import lacking
from impact.did.cells import Effects, first_seen
from impact.sample import Sample, caution, told
from impact.show.words import listing
from impact.study import Outcome

Array = np.ndarray

COMPARISONS = {"not_yet": "units not yet treated", "never": "units never treated"}
METHODS = {"dr": "doubly robust", "reg": "outcome regression", "ipw": "inverse probability weighting"}
BASES = {
    "varying": "effects before adoption from the period before",
    "universal": "all effects from the last period before adoption",
}
UNBALANCED = ("changes", "levels")
SMALL = 10
"""Adoption groups of fewer units than this get a word of caution."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the cells are estimated; refused in words where it makes no sense."""

    method: str = "dr"
    comparison: str = "not_yet"
    anticipation: float = 0
    base: str = "varying"
    unbalanced: str = "changes"

    def __post_init__(self) -> None:
        for name, known in (
            ("method", METHODS),
            ("comparison", COMPARISONS),
            ("base", BASES),
            ("unbalanced", UNBALANCED),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"`{name}` is one of {listing(map(repr, known), 'or')}, not {getattr(self, name)!r}.")
        arguments.number(self.anticipation, "anticipation", least=0, most=1e6)

    def words(self, covariates: int) -> str:
        """The method in words; without covariates the three ways of adjusting for them are one."""
        how = METHODS[self.method] if covariates else "no covariates"
        early = f", reacting up to {self.anticipation:g} periods in advance" if self.anticipation else ""
        return f"Callaway and Sant'Anna, {how}, against {COMPARISONS[self.comparison]}{early}"


class Cell(NamedTuple):
    """An adoption group in the period ``at``, measured from the period ``base``; both are positions.

    Only units first treated after the ``cutoff`` are compared with.
    """

    group: float
    at: int
    base: int
    cutoff: float


@dataclass
class _Work:
    """What the cells of one outcome share while they are computed."""

    sample: Sample
    outcome: Outcome
    options: Options
    periods: Array
    first: Array
    y: Array
    cells: list[Cell]
    notes: list[str]
    value: Array = field(init=False)
    scores: Array = field(init=False)
    why: dict[int, str] = field(default_factory=dict)  # the cells that cannot be estimated
    certain: set[str] = field(default_factory=set)
    leaning: dict[float, tuple[str, ...]] = field(default_factory=dict)
    lost: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.value = np.full(len(self.cells), np.nan)
        self.scores = np.zeros((len(self.cells), len(self.sample)))


def effects(sample: Sample, outcome: Outcome, options: Options) -> Effects:
    """All cells of one outcome that can be estimated; what is said of the others is in the notes."""
    periods, notes = lacking.periods_of(sample, outcome)
    first, more = first_seen(sample, outcome, periods, options.anticipation)
    used = sample.weights > 0
    groups = np.unique(first[used & np.isfinite(first) & (first <= periods[-1])])
    cells = [c for g in groups for c in _cells(g, periods, options)]
    y = sample.outcome(outcome.name, gaps=True)
    work = _Work(sample, outcome, options, periods, first, y, cells, notes + more)
    seen_twice = _gaps(work, used)
    if seen_twice is None:
        _whole(work)
    elif seen_twice and options.unbalanced == "changes":
        _changes(work)
    else:
        _levels(work, used)
    return _finished(work, groups, used)


def _finished(work: _Work, groups: Array, used: Array) -> Effects:
    sample, options, outcome = work.sample, work.options, work.outcome
    kept = np.setdiff1d(np.arange(len(work.cells)), list(work.why))
    group = np.array([c.group for c in work.cells])
    time = work.periods[[c.at for c in work.cells]]
    if not len(kept):
        lacking.refuse(sample, outcome, COMPARISONS[options.comparison], group, time, work.first, work.why)
    notes = work.notes + lacking.said(sample, outcome, COMPARISONS[options.comparison], group, time, work.first,
                                      work.why)  # fmt: skip
    notes += _small(groups, work.first[used], sample) + _shared(work)
    return Effects(
        group[kept],
        time[kept],
        work.value[kept],
        (work.scores if len(kept) == len(group) else work.scores[kept]).T,
        work.first,
        sample.weights,
        tuple(notes),
        0 if options.method == "ipw" else sample.covariates.shape[1],
    )


def _cells(group: float, periods: Array, options: Options) -> Iterator[Cell]:
    """A group's cells: its periods, each with the period it starts from and who may be compared.

    Only units first treated after the cutoff are compared with: the later of the two periods of
    the cell, plus anticipation; with ``comparison="never"``, the last period.
    """
    before = int(np.flatnonzero(periods + options.anticipation < group)[-1])
    for at, when in enumerate(periods):
        base = before if options.base == "universal" or when >= group else at - 1
        if base in (at, -1):
            continue
        last = periods[-1] if options.comparison == "never" else max(when, periods[base])
        yield Cell(group, at, base, float(last + options.anticipation))


# ---- units seen in both periods -------------------------------------------------------------


def _whole(work: _Work) -> None:
    """Nobody is ever unseen: cells with the same group and comparison units are one problem."""
    rows = _rows(work)
    sums = rows.weigh(rows.part.w)
    same: dict[tuple[float, int], list[int]] = {}
    for k, c in enumerate(work.cells):
        same.setdefault((c.group, int(np.searchsorted(rows.groups, c.cutoff, side="right"))), []).append(k)
    for together in same.values():
        _together(work, rows, np.array(together), rows.part.w, sums)


def _changes(work: _Work) -> None:
    """Some are unseen at times: each cell is of those seen in both of its periods."""
    rows = _rows(work)
    assert rows.seen is not None
    for k, c in enumerate(work.cells):
        which = rows.compare(c.group, c.cutoff)
        w = rows.part.w * (rows.seen[c.at] & rows.seen[c.base])
        work.lost.append(1 - rows.part._replace(w=w).weight(which.runs) / rows.part.weight(which.runs))
        _together(work, rows, np.array([k]), w, rows.weigh(w, which))


def _rows(work: _Work) -> staggered.Rows:
    sample = work.sample
    return staggered.Rows(work.y, sample.covariates, sample.weights, work.first)


def _together(work: _Work, rows: staggered.Rows, cells: Array, w: Array, sums: staggered.Sums) -> None:
    """Cells of one group with the same comparison units: fast where that is safe, else with care and in words."""
    some = work.cells[cells[0]]
    which, part = rows.compare(some.group, some.cutoff), rows.part._replace(w=w)
    for runs, what in (((which.mine,), "mine"), (which.others, "others")):
        if not part.weight(runs) > 0:
            work.why.update(dict.fromkeys(cells.tolist(), what if runs else lacking.NOBODY))
            return
    at, base = np.array([work.cells[k].at for k in cells]), np.array([work.cells[k].base for k in cells])
    found = staggered.effects(rows, which, at, base, work.options.method, w, sums, work.scores, cells)
    if found is None:
        _with_care(work, rows, which, cells, at, base, w)
    else:
        work.value[cells] = found


def _with_care(
    work: _Work, rows: staggered.Rows, which: staggered.Comparison, cells: Array, at: Array, base: Array, w: Array
) -> None:
    mine, *others = (np.arange(s.start, s.stop) for s in map(rows.part.run, which.runs))
    place = np.concatenate([mine, *others])
    member = np.arange(len(place)) < len(mine)
    place, member = place[w[place] > 0], member[w[place] > 0]
    units = rows.order[place]
    change = (rows.y[at][:, place] - rows.y[base][:, place]).T
    x, names = work.sample.covariates[units], _names(work)
    try:
        found = doubly_robust.levels(change, member, x, w[place], "ATT", work.options.method, names)
    except ValueError as reason:
        other = "" if work.options.method == "reg" else "; method='reg' needs no model of who is treated"
        work.why.update(dict.fromkeys(cells.tolist(), f"{reason} Or leave this group out by an eligibility rule{other}."))
        return
    work.value[cells] = found.treated - found.comparison
    work.scores[np.ix_(cells, units)] = (found.treated_scores - found.comparison_scores).T
    if found.propensity is not None:
        work.certain.update(found.propensity.separated.names)
    if found.outcome:
        apart = np.setdiff1d(found.outcome[False].redundant, coordinates(x, w[place]).redundant)
        if len(apart):
            group = work.cells[cells[0]].group
            known = work.leaning.get(group, ())
            work.leaning[group] = tuple(dict.fromkeys((*known, *(names[j] for j in apart))))


def _names(work: _Work) -> tuple[str, ...]:
    return told(work.sample.covariate_names, work.sample.covariates)


# ---- repeated cross-sections ----------------------------------------------------------------


def _levels(work: _Work, used: Array) -> None:
    """Means of all observations of a period, nobody followed. A unit's score sums over its observations."""
    seen, first, sample = ~np.isnan(work.y), work.first, work.sample
    method = work.options.method if sample.covariates.shape[1] else "reg"
    for k, c in enumerate(work.cells):
        mine = first == c.group
        among = used & (mine | (first > c.cutoff))
        if not (among & ~mine).any():
            work.why[k] = lacking.NOBODY
            continue
        before, after = (np.flatnonzero(among & seen[:, t]) for t in (c.base, c.at))
        units = np.concatenate([before, after])
        y = np.concatenate([work.y[before, c.base], work.y[after, c.at]])
        late = np.arange(len(units)) >= len(before)
        x, w = sample.covariates[units], sample.weights[units]
        try:
            value, scores, chance = cross_sections.difference(y, mine[units], late, x, w, method, _names(work))
        except ValueError as reason:
            work.why[k] = str(reason)
            continue
        work.value[k] = value
        work.scores[k, before] += scores[: len(before)]
        work.scores[k, after] += scores[len(before) :]
        if chance is not None:
            work.certain.update(chance.separated.names)


def _gaps(work: _Work, used: Array) -> bool | None:
    """None if every unit is always seen, else whether any is seen twice; says what is done with those who are not."""
    if np.isfinite(work.y.sum()):
        return None
    times = (~np.isnan(work.y[used])).sum(axis=1)
    some, n, name = int((times < work.y.shape[1]).sum()), int(used.sum()), work.outcome.name
    if not some:
        return None
    twice = bool((times > 1).any())
    if not twice:
        how = (
            f"Each of {n:,} units is seen in one period of `{name}` only: the observations of different periods are "
            "compared, as from repeated cross-sections. Whom they cover must not change over time."
        )
    elif work.options.unbalanced == "levels":
        how = (
            f"{some:,} of {n:,} units are not seen in every period of `{name}`. All observations are compared as from "
            "repeated cross-sections, nobody being followed (unbalanced='levels'); whom they cover must not change "
            "over time."
        )
    else:
        how = ""  # said when it is known how many each cell keeps
    work.notes += [how] * bool(how)
    return twice


def _shared(work: _Work) -> list[str]:
    """What concerns several cells alike."""
    notes = []
    name, options = work.outcome.name, work.options
    if work.lost:
        seen = ~np.isnan(work.y[work.sample.weights > 0])
        least, most = 100 * (1 - max(work.lost)), 100 * (1 - min(work.lost))
        some = int((~seen.all(axis=1)).sum())
        notes.append(
            f"{some:,} of {len(seen):,} units are not seen in every period of `{name}`. They are kept: each effect is "
            f"of the units seen in both of its periods, which are {least:.0f} to {most:.0f}% of those it concerns; "
            "unbalanced='levels' compares all observations instead, following nobody."
        )
    if work.certain:
        notes += caution([
            f"Some units are certain to be treated, or not to be, by {listing(sorted(work.certain))} in some "
            f"comparisons of `{name}`: they have nobody to be compared with there."
        ])  # fmt: skip
    for group, names in work.leaning.items():
        notes += caution([
            f"Among the units compared with those first treated in {group:g}, {listing(f'`{n}`' for n in names)} cannot "
            f"be told from the other covariates: the effect on `{name}` takes no account of it"
            + (" in the regression." if options.method == "dr" else ".")
        ])  # fmt: skip
    return notes


def _small(groups: Array, first: Array, sample: Sample) -> list[str]:
    small = [g for g in groups if (first == g).sum() < SMALL]
    if not small:
        return []
    which = listing(f"{g:g}" for g in small[:8]) + (" and more" if len(small) > 8 else "")
    return [
        f"{len(small)} of {len(groups)} adoption groups (`{sample.study.adoption}` {which}) have fewer than {SMALL} "
        "units: the standard errors of their own effects are too small to rely on."
    ]
