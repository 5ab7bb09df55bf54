"""What estimators of staggered adoption by regression ask of a sample: outcomes over time, and who adopts when."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from impact.core.linear import coordinates
from impact.did.cells import first_seen, periods_of
from impact.sample import Sample
from impact.show.words import listing
from impact.study import Outcome

Array = np.ndarray


class Observed(NamedTuple):
    """One outcome of a sample as arrays.

    ``y`` (n, T), NaN where a unit is not seen; ``periods`` (T,); ``first`` (n,) the period in which a unit is first
    seen treated, infinite for never, minus infinity for those without a period before; ``groups`` the adoption
    groups; ``weights`` (n,), zero for whom there is nothing to compare with; ``before`` (n, T) and ``since`` (n, T)
    bool: observations without treatment or reaction to it, and with treatment; ``z`` (n, q) a constant and the
    covariates; ``notes`` who was set aside.
    """

    outcome: Outcome
    y: Array
    periods: Array
    first: Array
    groups: Array
    weights: Array
    before: Array
    since: Array
    z: Array
    notes: list[str]


def observed(sample: Sample, outcome: Outcome, anticipation: float) -> Observed:
    """The outcome over time, without units that are not seen before their adoption; a note says how many."""
    periods = periods_of(sample, outcome)
    first, notes = first_seen(sample, outcome, periods, anticipation)
    y = sample.outcome(outcome.name, gaps=True)
    seen = np.isfinite(y)
    if (seen.sum(axis=1) <= 1).all():
        raise ValueError(
            f"Each of {len(seen):,} units is seen in one period of `{outcome.name}`, so that no unit's level without "
            "the programme can be told: use callaway_santanna, sun_abraham, two_way or two_by_two, which take repeated "
            "cross-sections."
        )
    before = seen & (periods + anticipation < first[:, None])
    used = (sample.weights > 0) & np.isfinite(np.maximum(first, periods[0]))
    lost = used & (first <= periods[-1]) & ~before.any(axis=1)
    if lost.any():
        notes.append(
            f"{int(lost.sum()):,} of {int((sample.weights > 0).sum()):,} units adopt while observed but are not seen "
            f"before in `{outcome.name}`, and are left out."
        )
    weights = np.where((first > periods[0]) & ~lost, sample.weights, 0.0)
    groups = np.unique(first[(weights > 0) & (first <= periods[-1])])
    if not len(groups):
        raise ValueError(
            f"None of {int((sample.weights > 0).sum()):,} units is seen both before and after its adoption "
            f"(`{sample.study.adoption}`) in `{outcome.name}`: add earlier or later periods."
        )
    where = coordinates(sample.covariates, weights)
    since = seen & (periods >= first[:, None])
    return Observed(outcome, y, periods, first, groups, weights, before, since, where.of(sample.covariates), notes)


def lacking(cells: list[tuple[float, float]], out_of: int, outcome: Outcome, why: str) -> list[str]:
    """A note on the combinations of group and period that have no effect, naming the first of them."""
    if not cells:
        return []
    some = listing(f"{g:g} in {t:g}" for g, t in cells[:6]) + (" and others" if len(cells) > 6 else "")
    return [
        f"{len(cells)} of {out_of} combinations of adoption group and period of `{outcome.name}` have no effect, "
        f"{why}: {some}."
    ]
