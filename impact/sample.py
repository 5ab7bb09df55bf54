"""Who can answer: the units of a study as arrays, with their weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np

from impact.core import arguments
from impact.study import Event, Outcome, Study

Array = np.ndarray


class ImpactWarning(UserWarning):
    """Something a reader of the estimate should know. The same words are a note on the result."""


class Nuisance(NamedTuple):
    """How weights were estimated, so that their error can be carried into every estimate.

    ``influence`` (n, p): what each unit adds to the error of the p parameters, which is its
    weight before the design times the derivative of the parameters in that weight.
    ``gradient`` (n, p): the derivative of each unit's new weight in the parameters.
    """

    influence: Array
    gradient: Array


class Durations(NamedTuple):
    """Times to an event: ``status`` is 0 for censored and k for the k-th cause of the study."""

    time: Array
    status: Array
    entry: Array | None = None


class FlowStep(NamedTuple):
    """A line of the flow of exclusions: who is left after a step, by arm."""

    step: str
    treated: int
    comparison: int
    other: int = 0

    @property
    def total(self) -> int:
        return self.treated + self.comparison + self.other


@dataclass(frozen=True, eq=False)
class Sample:
    """The units of a study as arrays, with their weights. There is one row per unit, always.

    Made by :func:`impact.emulate`; designs return a new sample with other weights.

    Attributes
    ----------
    study : Study
    unit : (n,) labels of the units; never shown
    outcomes : name to (n,) array, (n, T) matrix for an outcome over time, or ``Durations``
    periods : name to (T,) array, for the outcomes that are matrices
    covariates : (n, p) design columns of full rank, without intercept
    covariate_names : p names
    characteristics : (n, q) all columns to judge balance on, with every level of each factor
    characteristic_names : q names
    terms : covariate term to the positions of its columns in ``characteristics``
    sampling : (n,) weights before any design
    weights : (n,) weights now; zero leaves a unit out
    cluster : (n,) integer codes; units of one cluster are dependent
    treated : (n,) bool; with more than two arms, who is in any of the treated ones
    arm : (n,) integer codes for more than two arms, else None: 0 for the comparison group, then
        the treated arms in the study's order
    adoption : (n,) float, infinity for never, or None
    strata : (n,) integer codes of matched sets, negative for unmatched units, or None
    score : (n,) estimated probability of treatment, or None
    nuisance : how the weights were estimated, or None
    flow, steps, notes : what happened to the units, what was done, what to keep in mind
    fingerprint : digest of the study and of the data it used
    formula : the formulaic specification of the covariates, with the levels and knots seen
    """

    study: Study
    unit: Array
    outcomes: Mapping[str, Any]
    periods: Mapping[str, Array]
    covariates: Array
    covariate_names: tuple[str, ...]
    characteristics: Array
    characteristic_names: tuple[str, ...]
    terms: Mapping[str, tuple[int, ...]]
    sampling: Array
    weights: Array
    cluster: Array
    treated: Array
    adoption: Array | None = None
    strata: Array | None = None
    score: Array | None = None
    nuisance: Nuisance | None = None
    flow: tuple[FlowStep, ...] = ()
    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fingerprint: str = ""
    formula: Any = field(default=None, repr=False)
    arm: Array | None = None

    def __len__(self) -> int:
        return len(self.unit)

    def __repr__(self) -> str:
        last = self.flow[-1]
        lines = [f"Sample of “{self.study.title}”: {last.treated} treated, {last.comparison} comparison units"]
        lines += [f"  {s.step}: {s.treated} treated, {s.comparison} comparison" for s in self.flow]
        if self.arm is not None:
            sizes = (f"{name} {int((mask & (self.weights > 0)).sum())}" for name, mask in self.every_arm.items())
            lines.append(f"  arms: {', '.join(sizes)}")
        lines += [f"  step: {s}" for s in self.steps] + [f"  note: {n}" for n in self.notes]
        return "\n".join(lines)

    # ---- asking ---------------------------------------------------------------------------

    def outcome(self, name: str | None = None, *, gaps: bool = False) -> Any:
        """The values of the named outcome, or of the study's first.

        Where the study keeps units that are not seen in every period, (n, T) matrices have NaN
        where a unit is not seen; they are handed only to who says that it knows ``gaps``.
        """
        name = self.study.find(name).name if name else next(iter(self.outcomes))
        values = self.outcomes[name]
        if self.study.missing == "keep" and not gaps and isinstance(values, np.ndarray):
            unseen = int(np.isnan(values.reshape(len(values), -1)).any(axis=1).sum())
            if unseen:
                raise ValueError(
                    f"`{name}` is not seen in every period for {unseen} of {len(values)} units, and this needs it "
                    "in all: set missing='drop' to exclude and count these units, or use an estimator for unbalanced "
                    "panels, such as impact.did.callaway_santanna."
                )
        return values

    def words(self, name: str) -> str:
        """What the named outcome is called in tables and figures."""
        return self.study.find(name).words

    def measured(self, outcome: str | Sequence[str] | None = None) -> tuple[Outcome, ...]:
        """The measured outcomes asked for; all of the study's, if none is named."""
        return self._asked(outcome, Outcome, "an outcome measured on each unit", "Outcome")

    def events(self, outcome: str | Sequence[str] | None = None) -> tuple[Event, ...]:
        """The times to an event asked for; all of the study's, if none is named."""
        return self._asked(outcome, Event, "a time to an event", "Event")

    def _asked(self, names: str | Sequence[str] | None, kind: type, what: str, noun: str) -> tuple[Any, ...]:
        if names is None:
            found = tuple(o for o in self.study.outcomes if isinstance(o, kind))
            if not found:
                raise ValueError(
                    f"This needs {what}, and the study “{self.study.title}” has none: add an {noun} to it."
                )
            return found
        found = tuple(self.study.find(n) for n in arguments.texts(names, "outcome"))
        if not found:
            raise ValueError("`outcome` is an empty list: name at least one outcome of the study, or leave it out.")
        strange = [o.name for o in found if not isinstance(o, kind)]
        if strange:
            raise ValueError(f"This needs {what}, and `{strange[0]}` is not one: name an {noun} of the study.")
        return found

    @property
    def arms(self) -> dict[str, Array]:
        """The arms by name, treated first: who is in each, as (n,) bool."""
        if self.study.treatment is None:
            raise ValueError(
                f"This compares two arms, and the study “{self.study.title}” has staggered adoption instead: "
                "use the estimators of `impact.did`, or give the study a `treatment`."
            )
        if self.arm is not None:
            raise ValueError(
                f"This compares two arms, and the study “{self.study.title}” has {len(self.study.arms)}: use "
                "impact.matching.several and impact.checks.several, or compare two by study.revise(treated=...) with "
                "one value."
            )
        treated, comparison = self.study.arms
        return {treated: self.treated, comparison: ~self.treated}

    @property
    def sides(self) -> dict[str, Array]:
        """What a design makes alike, treated first: two arms, or units that adopt and units that never do."""
        if self.study.treatment is not None:
            return self.arms
        if self.treated.all():
            raise ValueError(
                f"All {len(self)} units of “{self.study.title}” adopt (`{self.study.adoption}`), so there are none "
                "that never do to be made like them: a difference in differences compares with units not yet treated."
            )
        return {"units that adopt": self.treated, "units that never adopt": ~self.treated}

    @property
    def every_arm(self) -> dict[str, Array]:
        """The arms by name, however many, treated first in the study's order: who is in each, as (n,) bool."""
        if self.arm is None:
            return self.arms
        last = len(self.study.arms) - 1
        return {name: self.arm == (k + 1 if k < last else 0) for k, name in enumerate(self.study.arms)}

    def design(self) -> Array:
        """(n, 1 + p): the covariates with an intercept before them."""
        return np.column_stack([np.ones(len(self)), self.covariates])

    @property
    def distinct(self) -> tuple[str, ...]:
        """The covariate terms that do not follow from others: those with a column of their own in ``covariates``."""
        kept = set(self.covariate_names)
        return tuple(t for t, at in self.terms.items() if any(self.characteristic_names[j] in kept for j in at))

    def columns_of(self, term: str) -> tuple[int, ...]:
        """Positions in ``characteristics`` of a covariate, named as the study's term or as its column."""
        for name in (term, f"C({term})"):
            if name in self.terms:
                return self.terms[name]
        raise KeyError(f"`{term}` is not among the covariates of the study: it has {', '.join(self.terms) or 'none'}.")

    # ---- designing ------------------------------------------------------------------------

    def reweight(
        self,
        weights: Array,
        *,
        step: str,
        strata: Array | None = None,
        nuisance: Nuisance | None = None,
        score: Array | None = None,
        notes: Iterable[str] = (),
        flow: str | None = None,
        several: bool = False,
    ) -> Sample:
        """The same units with new weights.

        ``step`` says in words what was done; ``flow``, if given, adds a line to the flow of
        exclusions that counts the units with a positive weight. Matched sets (``strata``)
        become the clusters, unless the study named its own. ``several`` says that the design
        knows more than two arms; others are refused such a sample.
        """
        if self.arm is not None and not several:
            _ = self.arms  # refuses more than two arms in words
        if self.nuisance is not None:
            raise ValueError(
                f"This sample's weights were already estimated ({self.steps[-1]}), and the error of a second "
                "design on top is not known: start from the sample that `emulate` returned."
            )
        said = caution(notes)
        keeps = strata is None or self.study.cluster is not None
        used = np.asarray(weights) > 0
        line = () if flow is None else (_count(flow, self.treated, used),)
        return replace(
            self,
            weights=np.asarray(weights, float),
            strata=strata,
            nuisance=nuisance,
            score=self.score if score is None else score,
            cluster=self.cluster if keeps else _counted_from_zero(np.asarray(strata)),
            steps=(*self.steps, step),
            notes=tuple(dict.fromkeys((*self.notes, *said))),
            flow=(*self.flow, *line),
        )

    def take(self, rows: Array) -> Sample:
        """The sample of these rows (positions or mask): reordered, repeated or left out."""

        def pick(value: Any) -> Any:
            if isinstance(value, Durations | Nuisance):
                return type(value)(*(pick(v) for v in value))
            return value[rows] if isinstance(value, np.ndarray) else value

        by_row = ("unit", "covariates", "characteristics", "sampling", "weights", "cluster", "treated", "adoption",
                  "arm", "strata", "score", "nuisance")  # fmt: skip
        picked = {f.name: pick(getattr(self, f.name)) for f in fields(self) if f.name in by_row}
        return replace(self, outcomes={k: pick(v) for k, v in self.outcomes.items()}, **picked)


def _counted_from_zero(codes: Array) -> Array:
    """Codes in the same order without gaps, as numpy's ``unique`` numbers them: by counting where they are close."""
    start, span = int(codes.min()), int(codes.max()) - int(codes.min()) + 1
    if codes.dtype.kind not in "iu" or span > 4 * len(codes):
        return np.unique(codes, return_inverse=True)[1]
    there = np.zeros(span, bool)
    there[codes - start] = True
    return (np.cumsum(there) - 1)[codes - start]


def told(names: Sequence[str], columns: Array, least: int = 10) -> tuple[str, ...]:
    """Names of (n, p) columns for a sentence: a level that fewer than ten units have goes by its factor alone."""
    head = columns[:least]  # shows of most numbers that they are more than yes or no
    may = np.flatnonzero(((head == 0) | (head == 1)).all(axis=0))
    rare = np.zeros(columns.shape[1], bool)
    rare[[j for j in may if columns[:, j].sum() < least and np.isin(columns[:, j], (0, 1)).all()]] = True
    unnamed = [f"{name.split(': ')[0]}: a rare level" if ": " in name else name for name in names]
    return tuple(np.where(rare, unnamed, names).tolist()) if len(names) else ()


def caution(notes: Iterable[str]) -> tuple[str, ...]:
    """Warn of each note, and hand the notes on to be kept with the result."""
    said = tuple(notes)
    for note in said:
        warnings.warn(note, ImpactWarning, stacklevel=3)
    return said


def _count(step: str, treated: Array, used: Array) -> FlowStep:
    return FlowStep(step, int((treated & used).sum()), int((~treated & used).sum()))
