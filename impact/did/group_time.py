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

from impact.core import cohorts, cross_sections, doubly_robust, staggered
from impact.core.linear import coordinates
from impact.did import lacking
from impact.did.cells import Effects, first_seen, periods_of
from impact.did.options import COMPARISONS, Options
from impact.sample import Sample, told
from impact.study import Outcome

Array = np.ndarray


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
    kept: list[float] = field(default_factory=list)  # the share of units seen in both periods of a cell

    def __post_init__(self) -> None:
        self.value = np.full(len(self.cells), np.nan)
        self.scores = np.zeros((len(self.cells), len(self.sample)))


def effects(sample: Sample, outcome: Outcome, options: Options) -> Effects:
    """All cells of one outcome that can be estimated; what is said of the others is in the notes."""
    periods = periods_of(sample, outcome)
    first, said = first_seen(sample, outcome, periods, options.anticipation)
    used = sample.weights > 0
    groups = np.unique(first[used & np.isfinite(first) & (first <= periods[-1])])
    cells = [c for g in groups for c in _cells(g, periods, options)]
    y = sample.outcome(outcome.name, gaps=True)
    work = _Work(sample, outcome, options, periods, first, y, cells, said)
    seen = None if np.isfinite(y.sum()) else ~np.isnan(y[used])
    if seen is None or seen.all():
        _whole(work)
    else:
        twice, notes = lacking.gaps(outcome.name, seen, options.unbalanced)
        work.notes += notes
        if twice and options.unbalanced == "changes":
            _changes(work)
            work.notes += lacking.followed(outcome.name, seen, work.kept)
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
    whom = COMPARISONS[options.comparison]
    notes = [
        *work.notes,
        *lacking.said(sample, outcome, whom, group, time, work.first, work.why),
        *lacking.small(groups, work.first[used], sample),
        *lacking.unlike(outcome.name, work.certain, work.leaning, options.method),
    ]
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
        work.kept.append(rows.part._replace(w=w).weight(which.runs) / rows.part.weight(which.runs))
        _together(work, rows, np.array([k]), w, rows.weigh(w, which))


def _rows(work: _Work) -> cohorts.Rows:
    sample = work.sample
    return cohorts.Rows(work.y, sample.covariates, sample.weights, work.first)


def _together(work: _Work, rows: cohorts.Rows, cells: Array, w: Array, sums: cohorts.Sums) -> None:
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
    work: _Work, rows: cohorts.Rows, which: cohorts.Comparison, cells: Array, at: Array, base: Array, w: Array
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
        said = f"{reason} Or leave this group out by an eligibility rule{other}."
        work.why.update(dict.fromkeys(cells.tolist(), said))
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
