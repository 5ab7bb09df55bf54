"""What checks of units that adopt at different times share: whom they look at, what they estimate with, how they judge.

Checks import no topic. The estimators of :mod:`impact.did` are handed to them as functions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from impact.core import arguments, differences
from impact.estimate import Estimate
from impact.sample import ImpactWarning, Sample
from impact.show.words import counted
from impact.study import Outcome

Array = np.ndarray
Estimator = Callable[..., Estimate]


# ---- whom -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Subject:
    """A sample of units that adopt at different times, and the outcome over time that is looked at."""

    sample: Sample
    outcome: Outcome

    @classmethod
    def of(cls, sample: Sample, outcome: str | None) -> Subject:
        """With the outcome over time that is asked for; the study's first, if none is named."""
        if sample.adoption is None:
            raise ValueError(
                f"This looks at units that adopt at different times, and the study “{sample.study.title}” has no "
                "`adoption`: name the column with the period in which each unit was first treated."
            )
        asked = sample.measured(None if outcome is None else arguments.text(outcome, "outcome"))
        found = [o for o in asked if o.name in sample.periods]
        if not found:
            raise ValueError(
                f"`{asked[0].name}` is a single value for each unit, and a difference in differences needs it before "
                "and after adoption: give the Outcome its `periods`, or the study the `period` column of a long table."
            )
        subject = cls(sample, found[0])
        if not len(subject.groups):
            raise ValueError(
                f"None of {int(subject.live.sum()):,} units is seen both before and after its adoption "
                f"(`{sample.study.adoption}`) in `{found[0].name}`: add earlier or later periods."
            )
        return subject

    @property
    def words(self) -> str:
        return self.outcome.words

    @property
    def live(self) -> Array:
        """(n,) who has a weight."""
        return self.sample.weights > 0

    @property
    def periods(self) -> Array:
        return self.sample.periods[self.outcome.name]

    @property
    def values(self) -> Array:
        """(n, T), NaN where a unit is not seen."""
        return np.asarray(self.sample.outcome(self.outcome.name, gaps=True), float)

    @cached_property
    def first(self) -> Array:
        """(n,) the first period in which each unit is treated; minus infinity if it has none before."""
        assert self.sample.adoption is not None
        return differences.first_treated(self.sample.adoption, self.periods)

    @cached_property
    def groups(self) -> Array:
        """The adoption groups that are seen both before and after adoption."""
        return np.unique(self.first[self.live & np.isfinite(self.first) & (self.first <= self.periods[-1])])

    @property
    def never(self) -> Array:
        """(n,) who is not treated while observed."""
        return np.asarray(self.live & (self.first > self.periods[-1]))

    def only(
        self,
        gone: Array | None = None,
        *,
        kept: Array | None = None,
        values: Array | None = None,
        adoption: Array | None = None,
        words: str = "",
    ) -> Sample:
        """The sample with this outcome only, without the units that are ``gone`` (n,), of the periods ``kept`` (T,).

        With other values or adoption, if given. A design stays what it is: units that are gone lose their weight
        in it.
        """
        kept = np.ones(len(self.periods), bool) if kept is None else kept
        some = self.outcome.periods
        some = some if some is None else tuple(p for p, k in zip(some, kept, strict=True) if k)
        outcome = replace(self.outcome, periods=some, label=words or self.outcome.label)
        about: dict[str, Any] = {}
        if adoption is not None:
            about = {"adoption": adoption, "treated": np.isfinite(adoption)}
        found = replace(
            self.sample,
            study=self.sample.study.revise(outcomes=outcome),
            outcomes={outcome.name: (self.values if values is None else values)[:, kept]},
            periods={outcome.name: self.periods[kept]},
            **about,
        )
        if gone is None or not gone.any():
            return found
        return replace(found, weights=np.where(gone, 0.0, found.weights)) if found.steps else found.take(~gone)


class Reach(NamedTuple):
    """How much earlier to look, (n,) who cannot be looked at that much earlier, and what is said of them."""

    steps: tuple[float, ...]
    gone: Array
    notes: list[str]


def reach(subject: Subject, earlier: Any) -> Reach:
    """What was asked for; else one, two and three periods, as far as adoption groups of half of the treated go."""
    periods, first, weights = subject.periods, subject.first, subject.sample.weights
    groups = subject.groups
    size = np.array([weights[first == g].sum() for g in groups])
    if earlier is None:
        room = np.array([(periods < g).sum() - 1 for g in groups])
        most = max((k for k in (1, 2, 3) if size[room >= k].sum() >= size.sum() / 2), default=0)
        step = float(np.diff(periods).min(initial=np.inf))
        steps = tuple(step * k for k in range(1, most + 1))
    else:
        steps = _given(earlier)
    last = max(steps, default=0.0)
    fits = np.array([(periods < g - last).any() for g in groups], bool)
    if earlier is not None and not fits.any():
        raise ValueError(
            f"`earlier` asks for {last:g} before adoption, and none of {counted(len(groups), 'adoption group')} of "
            f"`{subject.outcome.name}` is seen before that: ask for less, or add earlier periods."
        )
    gone = np.isneginf(first) | np.isin(first, groups[~fits])
    left_out = int((gone & subject.live).sum())
    said = [f"{counted(left_out, 'unit')} are left out throughout, for want of earlier periods."] if left_out else []
    return Reach(steps, gone, said)


def _given(earlier: Any) -> tuple[float, ...]:
    given = np.unique(arguments.numbers(earlier, "earlier"))
    if not len(given) or not (np.isfinite(given).all() and (given > 0).all()):
        raise ValueError(
            f"`earlier` is {earlier!r}, and says how many periods before adoption to go, such as [1, 2, 3]: give "
            "numbers above 0, or leave it out."
        )
    return tuple(float(v) for v in given)


# ---- with what ----------------------------------------------------------------------------------


def _difference(sample: Sample, anticipation: float = 0) -> Estimate:
    """The plain difference in differences of an outcome over time, without covariates."""
    subject = Subject.of(sample, None)
    found = differences.average(subject.values, subject.first, subject.periods, sample.weights, anticipation)
    if np.isnan(found.value):
        raise ValueError(
            f"No effect on `{subject.outcome.name}` can be estimated for {int(subject.live.sum()):,} units: none is "
            "seen before and after adoption while others have not adopted; add periods, or units that adopt later."
        )
    return Estimate.of(
        sample,
        {"outcome": subject.words, "term": "average effect since adoption"},
        found.value,
        found.scores,
        rests_on=found.treated[:, None],
        estimand="Average effect since adoption",
        method="difference in differences without covariates, against units not yet treated",
        percent=is_share(subject.values[subject.live]),
        references=("callaway2021",),
        notes=(
            f"{found.lacking} of {found.cells} combinations of adoption group and period have nobody to compare with.",
        )
        * bool(found.lacking),
    )


def is_share(values: Array) -> bool:
    """Whether an outcome is yes or no wherever it is seen."""
    return bool(((values == 0) | (values == 1) | np.isnan(values)).all())


def chosen(estimator: Estimator | None) -> Estimator:
    """The estimator that was given, or the plain difference in differences."""
    return _difference if estimator is None else arguments.function(estimator, "estimator")


def runner(estimator: Estimator | None) -> Estimator:
    """The same, to be called for one value.

    What the package warns of is on the notes of what is found, and is not warned of each time again.
    """
    function = chosen(estimator)

    def run(sample: Sample, **options: Any) -> Estimate:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = function(sample, **options)
        for w in said:
            if not issubclass(w.category, ImpactWarning):
                warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)
        if not isinstance(found, Estimate) or len(found.value) != 1:
            many = len(found.value) if isinstance(found, Estimate) else type(found).__name__
            raise ValueError(
                f"The estimator gave {many} values for one outcome: let it return an Estimate of one, by `where`."
            )
        return found

    return run
