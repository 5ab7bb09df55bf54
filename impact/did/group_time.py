"""Effects by adoption group and period, the building blocks of staggered difference in differences.

Every estimator of this topic is an average of these cells. They are computed here as arrays, with
their scores, so that whatever is averaged keeps its covariance.

References: callaway2021, santanna2020.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from impact.core import arguments, doubly_robust
from impact.did.cells import Effects, first_seen, periods_of
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
SMALL = 10
"""Adoption groups of fewer units than this get a word of caution."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the cells are estimated; refused in words where it makes no sense."""

    method: str = "dr"
    comparison: str = "not_yet"
    anticipation: float = 0
    base: str = "varying"

    def __post_init__(self) -> None:
        for name, known in (("method", METHODS), ("comparison", COMPARISONS), ("base", BASES)):
            if getattr(self, name) not in known:
                raise ValueError(f"`{name}` is one of {listing(map(repr, known), 'or')}, not {getattr(self, name)!r}.")
        arguments.number(self.anticipation, "anticipation", least=0, most=1e6)

    def words(self, covariates: int) -> str:
        """The method in words; without covariates the three ways of adjusting for them are one."""
        how = METHODS[self.method] if covariates else "no covariates"
        early = f", reacting up to {self.anticipation:g} periods in advance" if self.anticipation else ""
        return f"Callaway and Sant'Anna, {how}, against {COMPARISONS[self.comparison]}{early}"


class _Cell(NamedTuple):
    group: float
    at: int
    base: int
    cutoff: float


def effects(sample: Sample, outcome: Outcome, options: Options) -> Effects:
    """All cells of one outcome that have a period to start from and somebody to compare with."""
    periods = periods_of(sample, outcome)
    first, notes = first_seen(sample, outcome, periods, options.anticipation)
    used = sample.weights > 0
    groups = np.unique(first[used & np.isfinite(first) & (first <= periods[-1])])
    cells = [c for g in groups for c in _cells(g, periods, options)]
    done: list[tuple[_Cell, float, Array]] = []
    certain: set[str] = set()
    for g in groups:
        mine = [c for c in cells if c.group == g]
        for cutoff in sorted({c.cutoff for c in mine}):
            same = [c for c in mine if c.cutoff == cutoff]
            rows = used & ((first == g) | ((first > cutoff) & (first != g)))
            if (first[rows] == g).all():
                continue
            value, scores, separated = _estimate(sample, outcome, same, periods, rows, first == g, options)
            certain.update(separated)
            done += [(c, value[k], scores[:, k]) for k, c in enumerate(same)]
    notes += _missing(outcome, len(cells) - len(done), len(cells), options)
    _refuse_nothing(sample, outcome, done, options)
    notes += _small(groups, first[used], sample)
    if certain:
        notes += caution([
            f"Some units are certain to be treated, or not to be, by {listing(sorted(certain))} in some comparisons of "
            f"`{outcome.name}`: they have nobody to be compared with there."
        ])  # fmt: skip
    done.sort(key=lambda cell: (cell[0].group, cell[0].at))
    return Effects(
        np.array([c.group for c, _, _ in done]),
        periods[[c.at for c, _, _ in done]],
        np.array([v for _, v, _ in done]),
        np.column_stack([s for _, _, s in done]),
        first,
        sample.weights,
        tuple(notes),
        0 if options.method == "ipw" else sample.covariates.shape[1],
    )


def _cells(group: float, periods: Array, options: Options) -> Iterator[_Cell]:
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
        yield _Cell(group, at, base, float(last + options.anticipation))


def _estimate(
    sample: Sample, outcome: Outcome, cells: list[_Cell], periods: Array, rows: Array, member: Array, options: Options
) -> tuple[Array, Array, tuple[str, ...]]:
    """Cells of one group with the same comparison units: the models are fitted once for all of them."""
    y = sample.outcome(outcome.name)[rows]
    change = y[:, [c.at for c in cells]] - y[:, [c.base for c in cells]]
    scores = np.zeros((len(sample), len(cells)))
    x, names = sample.covariates[rows], told(sample.covariate_names, sample.covariates)
    try:
        found = doubly_robust.levels(change, member[rows], x, sample.weights[rows], "ATT", options.method, names)
    except ValueError as reason:
        count = int(member[rows].sum())
        other = "" if options.method == "reg" else "; method='reg' needs no model of who is treated"
        raise ValueError(
            f"The effect on `{outcome.name}` in period {periods[cells[0].at]:g} for the {count} units first treated in "
            f"{cells[0].group:g} cannot be estimated with these covariates. {reason} "
            f"Or leave this group out by an eligibility rule{other}."
        ) from reason
    scores[rows] = found.treated_scores - found.comparison_scores
    certain = found.propensity.separated.names if found.propensity is not None else ()
    return found.treated - found.comparison, scores, tuple(certain)


def _missing(outcome: Outcome, lacking: int, cells: int, options: Options) -> list[str]:
    if not lacking:
        return []
    return [
        f"{lacking} of {cells} combinations of adoption group and period of `{outcome.name}` have no "
        f"{COMPARISONS[options.comparison]} to compare with, and no effect is given for them."
    ]


def _refuse_nothing(sample: Sample, outcome: Outcome, done: list[tuple[_Cell, float, Array]], options: Options) -> None:
    if done:
        return
    instead = "compare with comparison='not_yet'" if options.comparison == "never" else "add units that adopt later"
    raise ValueError(
        f"There are no {COMPARISONS[options.comparison]} to compare with among the {int((sample.weights > 0).sum()):,} "
        f"units of `{outcome.name}`: all adopt (`{sample.study.adoption}`) in time; {instead}."
    )


def _small(groups: Array, first: Array, sample: Sample) -> list[str]:
    small = [g for g in groups if (first == g).sum() < SMALL]
    if not small:
        return []
    which = listing(f"{g:g}" for g in small[:8]) + (" and more" if len(small) > 8 else "")
    return [
        f"{len(small)} of {len(groups)} adoption groups (`{sample.study.adoption}` {which}) have fewer than {SMALL} "
        "units: the standard errors of their own effects are too small to rely on."
    ]
