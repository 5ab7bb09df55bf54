"""A panel reduced to one change a unit: what inference with few treated areas works on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from impact.core import arguments
from impact.core.linear import coordinates
from impact.did.cells import first_seen, periods_of
from impact.sample import Sample, caution
from impact.study import Outcome

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Change:
    """The change ``value`` (n,) of one outcome from the mean of ``early`` (n, T) to that of ``late``.

    Only units that count are here.

    ``rows`` are their positions in the sample; ``area`` is the cluster of each treated unit, coded from 0,
    and -1 for untreated units; ``finer`` says whether some treated cluster has several units.
    """

    words: str
    rows: Array
    value: Array
    early: Array
    late: Array
    treated: Array
    weights: Array
    covariates: Array
    cluster: Array
    area: Array
    said: str
    notes: tuple[str, ...]

    @classmethod
    def of(cls, sample: Sample, outcome: Outcome, before: int | None, after: int | None) -> Change:
        """Periods before the first adoption and from the last adoption on, averaged within each unit."""
        periods = periods_of(sample, outcome)
        first, notes = first_seen(sample, outcome, periods)
        treated = np.isfinite(first) & (first <= periods[-1])
        live = (sample.weights > 0) & (treated | (first > periods[-1]))
        treated &= live
        _refuse_nobody(sample, outcome, live, treated)
        starts = np.unique(first[treated])
        early = np.flatnonzero(periods < starts[0])
        late = np.flatnonzero(periods >= starts[-1])
        early = early[-_count(before, "before", len(early), outcome) :]
        late = late[: _count(after, "after", len(late), outcome)]
        if len(starts) > 1:
            between = int(((periods >= starts[0]) & (periods < starts[-1])).sum())
            notes += [
                f"Units adopted in {len(starts)} different periods: the {between} periods between the first adoption "
                "and the last belong to neither side and are left out."
            ]
        if sample.nuisance is not None:
            notes += ["The weights were estimated, and are taken as given here."]
        matrix = sample.outcome(outcome.name)[live]
        _refuse_nothing(sample, outcome, matrix, live)
        area = np.full(len(sample), -1)
        area[treated] = np.unique(sample.cluster[treated], return_inverse=True)[1]
        return cls(
            words=outcome.words,
            rows=np.flatnonzero(live),
            value=matrix[:, late].mean(axis=1) - matrix[:, early].mean(axis=1),
            early=matrix[:, early],
            late=matrix[:, late],
            treated=treated[live],
            weights=sample.weights[live],
            covariates=coordinates(sample.covariates[live], sample.weights[live]).of(sample.covariates[live]),
            cluster=np.unique(sample.cluster[live], return_inverse=True)[1],
            area=area[live],
            said=f"mean of {_periods(len(late))} from adoption less mean of {_periods(len(early))} before",
            notes=tuple(caution(notes)),
        )

    @property
    def sizes(self) -> Array:
        """(a,) units in each treated area."""
        return np.bincount(self.area[self.treated])

    @property
    def spread_out(self) -> bool:
        """Whether every treated area is a single unit."""
        return bool((self.sizes == 1).all())

    @property
    def share(self) -> Array:
        """(a,) each treated area's share of the treated weight."""
        weight = np.bincount(self.area[self.treated], self.weights[self.treated])
        return np.asarray(weight / weight.sum())


def _count(asked: int | None, name: str, there: int, outcome: Outcome) -> int:
    """How many periods to average: all, or as many as are asked for."""
    if asked is None:
        return there
    arguments.number(asked, name, least=1, whole=True)
    if asked > there:
        where = "before the first adoption" if name == "before" else "from the last adoption on"
        raise ValueError(
            f"`{name}` asks for {asked} periods {where}, and `{outcome.name}` has {there}: ask for fewer, or leave it "
            "out."
        )
    return int(asked)


def _periods(count: int) -> str:
    return "one period" if count == 1 else f"{count} periods"


def _refuse_nobody(sample: Sample, outcome: Outcome, live: Array, treated: Array) -> None:
    others = int((live & ~treated).sum())
    if others < 2:
        raise ValueError(
            f"{others} of {int(live.sum())} units of `{outcome.name}` are never treated while observed, and errors are "
            "read off at least 2 such units: add units that are never treated."
        )


def _refuse_nothing(sample: Sample, outcome: Outcome, matrix: Array, live: Array) -> None:
    """Changes that do not vary, or a single cluster, from which nothing can be inferred."""
    change = matrix - matrix[:, :1]
    if not np.ptp(change, axis=0).any():
        raise ValueError(
            f"`{outcome.name}` changes by the same amount in all {len(matrix)} units: no error can be read off them; "
            "check the outcome."
        )
    if len(np.unique(sample.cluster[live])) < 2:
        raise ValueError(
            f"All {len(matrix)} units belong to 1 cluster (`{sample.study.cluster or sample.study.unit}`), so no error "
            "can be computed: name a finer cluster."
        )
