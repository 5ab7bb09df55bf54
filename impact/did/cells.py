"""The cells of difference in differences: effects by adoption group and period, with their scores.

Estimators of cells give them as :class:`Effects`; whatever is averaged of them keeps its covariance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from impact.sample import Sample
from impact.show.words import listing
from impact.study import Outcome

Array = np.ndarray
MOST = 6


class Average(NamedTuple):
    """Averages of cells: (m,) values, (n, m) scores, and (m, C) which cells each rests on."""

    value: Array
    scores: Array
    cells: Array


class Effects(NamedTuple):
    """The cells of one outcome: (C,) group and time, (C,) values, (n, C) scores, and the group of each unit.

    ``first`` (n,) is the period in which a unit is first seen treated, infinite if it never is;
    ``weights`` (n,) are what each unit counts in the size of its group. ``fitted`` is how many
    covariates were fitted among the comparison units, which a small sample feels.
    """

    group: Array
    time: Array
    value: Array
    scores: Array
    first: Array
    weights: Array
    notes: tuple[str, ...] = ()
    fitted: int = 0

    def average(self, share: Array) -> Average:
        """Averages of the cells, each row of ``share`` (m, C) one, by the weight of their groups.

        With W_g the weight of group g and s_c the share of cell c,

            value = sum_c s_c W_g(c) a_c / sum_c s_c W_g(c),

        and the groups' weights are estimated as well: they are in the scores.
        """
        groups, place = np.unique(self.group, return_inverse=True)
        member = self.first[:, None] == groups
        pull = share * (self.weights @ member)[place]
        whole = pull.sum(axis=1)
        value = (pull @ self.value) / whole
        gap = share * (self.value[None, :] - value[:, None]) / whole[:, None]
        by_group = np.zeros((len(share), len(groups)))
        np.add.at(by_group.T, place, gap.T)
        scores = self.scores @ (pull / whole[:, None]).T + self.weights[:, None] * (member @ by_group.T)
        return Average(value, scores, share > 0)

    def treated(self, cells: Array) -> Array:
        """(n, m): who is in an adoption group that (m, C) values rest on."""
        groups, place = np.unique(self.group, return_inverse=True)
        drawn = np.zeros((len(cells), len(groups)), bool)
        np.logical_or.at(drawn.T, place, cells.T)
        code = np.searchsorted(groups, self.first)
        inside = np.append(groups, np.nan)[code] == self.first
        return np.column_stack([drawn, np.zeros(len(cells), bool)]).T[np.where(inside, code, len(groups))]


def measured_over_time(sample: Sample, outcome: str | list[str] | None) -> tuple[Outcome, ...]:
    """The outcomes asked for; all that are seen over time, if none is named."""
    if sample.adoption is None:
        raise ValueError(
            f"The study “{sample.study.title}” has no `adoption`, which says when each unit was first treated: name "
            "that column in the study."
        )
    asked = sample.measured(outcome)
    found = tuple(o for o in asked if o.name in sample.periods)
    if not found or (outcome is not None and len(found) < len(asked)):
        single = next(o.name for o in asked if o.name not in sample.periods)
        raise ValueError(
            f"`{single}` is a single value for each unit, and a difference in differences needs it before and after "
            "adoption: give the Outcome its `periods`, or the study the `period` column of a long table."
        )
    return found


def periods_of(sample: Sample, outcome: Outcome) -> Array:
    """(T,) the periods of an outcome, of which there must be two."""
    periods = sample.periods[outcome.name]
    if len(periods) < 2:
        raise ValueError(
            f"`{outcome.name}` is seen in {len(periods)} period: a difference in differences needs at least two, "
            "one of them before adoption."
        )
    return periods


def gaps_in_time(outcome: Outcome, periods: Array) -> list[str]:
    """A note on periods that were not observed, if they are not evenly spaced."""
    steps = np.diff(periods)
    if np.allclose(steps, steps[0]):
        return []
    usual = float(np.min(steps))
    wide = np.flatnonzero(steps > usual * (1 + 1e-8))
    if np.allclose(steps / usual, np.round(steps / usual)):
        absent = [p for j in wide for p in np.arange(periods[j] + usual, periods[j + 1] - usual / 2, usual)]
        some = listing(f"{p:g}" for p in absent[:MOST]) + (" and more" if len(absent) > MOST else "")
        which = f"{len(absent)} periods in between were not observed ({some})"
        which = which if len(absent) > 1 else f"the period {absent[0]:g} was not observed"
    else:
        verb = "is" if len(wide) == 1 else "are"
        which = f"{len(wide)} of {len(steps)} gaps {verb} wider than the narrowest, of {usual:g}"
    return [
        f"The periods of `{outcome.name}` are not evenly spaced: {which}. Time since adoption is counted in the "
        "periods' own numbers, an effect at a time rests on the groups observed then, and a change over a wide gap "
        "counts as one."
    ]


def first_seen(sample: Sample, outcome: Outcome, periods: Array, anticipation: float = 0) -> tuple[Array, list[str]]:
    """The period in which each unit is first seen treated; minus infinity for those without a period before."""
    assert sample.adoption is not None
    adoption, used = sample.adoption, sample.weights > 0
    inside = adoption <= periods[-1]
    seen = periods[np.searchsorted(periods, np.where(inside, adoption, periods[-1]))]
    first = np.where(inside, seen, adoption)
    between = int((used & inside & (adoption > periods[0]) & (first != adoption)).sum())
    always = first <= periods[0] + anticipation
    late, n = int((used & ~inside & np.isfinite(adoption)).sum()), int(used.sum())
    notes = gaps_in_time(outcome, periods)
    if (used & always).any():
        early = f", counted {anticipation:g} early for anticipation" if anticipation else ""
        notes.append(
            f"{int((used & always).sum()):,} of {n:,} units have no period of `{outcome.name}` before their adoption"
            f"{early}, and are left out."
        )
    if between:
        notes.append(
            f"{between:,} of {n:,} units adopted between two periods of `{outcome.name}`: the first period after "
            "counts as theirs."
        )
    if late:
        notes.append(
            f"{late:,} of {n:,} units adopted after the last period of `{outcome.name}` and count as not yet treated."
        )
    if not (used & inside & ~always).any():
        raise ValueError(
            f"None of {n:,} units is seen both before and after its adoption (`{sample.study.adoption}`) in "
            f"`{outcome.name}`: {int((used & always).sum()):,} were treated from the start and {late:,} after the end; "
            "add earlier or later periods."
        )
    return np.where(always, -np.inf, first), notes
