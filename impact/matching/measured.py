"""Measured outcomes side by side as one matrix, and the estimate that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from impact.estimate import Estimate
from impact.sample import Sample, caution
from impact.show.words import listing
from impact.study import ESTIMANDS, Outcome

Array = np.ndarray
Names = str | Sequence[str] | None


@dataclass(frozen=True, eq=False)
class Measured:
    """The outcomes asked for: ``values`` (n, k), one column for each outcome and period."""

    sample: Sample
    outcomes: tuple[Outcome, ...]
    values: Array
    words: Array
    time: Array

    def difference(self, value: Array, scores: Array, *, adjusted: bool = True, **about: Any) -> Estimate:
        """An estimate of the k effects: (k,) values and (n, k) scores."""
        study = self.sample.study
        whose = ESTIMANDS[study.estimand] if adjusted else "difference between the arms as they are"
        term = study.estimand if adjusted else "difference in means"
        labels = {"outcome": self.words, "term": np.repeat(term, len(value))} | self._when()
        return self._estimate(labels, value, scores, whose, "difference in", about)

    def ratio(
        self,
        treated: tuple[Array, Array],
        comparison: tuple[Array, Array],
        *,
        odds: bool = False,
        adjusted: bool = True,
        named: bool = True,
        notes: tuple[str, ...] = (),
        **about: Any,
    ) -> Estimate:
        """The ratios of the arms' k means, or of their odds, from values and scores of both: log intervals.

        Outcomes without a ratio are refused if they were ``named``, and left out with a note if not.
        """
        (up, rise), (down, fall) = (_logs(*arm, odds) for arm in (treated, comparison))
        exists = np.isfinite(up) & np.isfinite(down)
        notes = (*notes, *self._without(exists, odds, named))
        value = np.exp((up - down)[exists])
        kind = "odds ratio" if odds else "risk ratio" if self.binary else "ratio of means"
        term = self.sample.study.estimand if adjusted else "odds ratio" if odds else "ratio"
        labels = {"outcome": self.words, "term": np.repeat(term, len(up))}
        labels = {name: column[exists] for name, column in (labels | self._when()).items()}
        words = self.words_of(f"{kind}, {' to '.join(self.sample.arms)}", "")
        words |= {"scale": "log", "percent": False, "axes": {**words["axes"], "estimate": kind}, "notes": notes}
        return Estimate.of(self.sample, labels, value, value * (rise - fall)[:, exists], **words, **about)

    def _without(self, exists: Array, odds: bool, named: bool) -> tuple[str, ...]:
        """What is said of outcomes that have no ratio, the mean of an arm being out of bounds."""
        if exists.all():
            return ()
        names = listing(f"“{word}”" for word in dict.fromkeys(self.words[~exists]))
        why = f"with a mean that is {'not between 0 and 1' if odds else 'not above 0'} in one arm: there is no ratio"
        if named or not exists.any():
            raise ValueError(
                f"A ratio of {'odds' if odds else 'means'} was asked for, and {names} stands "
                f"{why}. Ask for other outcomes or periods, or for the difference."
            )
        return caution([f"Left out: {names}, {why}."])

    def published(self, value: Array, covariance: Array, *, notes: tuple[str, ...] = (), **about: Any) -> Estimate:
        """An estimate of the k effects whose (k, k) covariance is a published formula: without scores."""
        sample = self.sample
        about["method"] = "; ".join(w for w in (*sample.steps, about.get("method", "")) if w)
        estimand = sample.study.estimand
        return Estimate.of_covariance(
            {"outcome": self.words, "term": np.repeat(estimand, len(value))} | self._when(),
            value,
            covariance,
            notes=tuple(dict.fromkeys((*notes, *sample.notes))),
            counts=self.counts(int((sample.weights > 0).sum())),
            **self.words_of(ESTIMANDS[estimand], "difference in"),
            **about,
        )

    def levels(self, treated: tuple[Array, Array], comparison: tuple[Array, Array], **about: Any) -> Estimate:
        """An estimate of the k levels of each arm, from (k,) values and (n, k) scores of each."""
        value = np.concatenate([treated[0], comparison[0]])
        scores = np.column_stack([treated[1], comparison[1]])
        labels: dict[str, Array] = {"outcome": np.tile(self.words, 2)}
        labels["group"] = np.repeat(list(self.sample.arms), len(self.words))
        labels |= {name: np.tile(column, 2) for name, column in self._when().items()}
        return self._estimate(labels, value, scores, "mean outcome by arm", "", {"null": None, **about})

    def counts(self, clusters: int) -> dict[str, int]:
        """Units, clusters and arms behind an estimate without scores."""
        used, treated = self.sample.weights > 0, self.sample.treated
        arms = {"treated": int((used & treated).sum()), "comparison": int((used & ~treated).sum())}
        return {"units": int(used.sum()), "clusters": clusters, **arms}

    def labels(self) -> dict[str, Array]:
        """The outcome, and the period where there are any, of each column."""
        return {"outcome": self.words} | self._when()

    def _when(self) -> dict[str, Array]:
        return {"time": self.time} if np.isfinite(self.time).any() else {}

    def _estimate(
        self, labels: dict[str, Array], value: Array, scores: Array, what: str, gap: str, about: dict[str, Any]
    ) -> Estimate:
        return Estimate.of(self.sample, labels, value, scores, **{**self.words_of(what, gap), **about})

    def words_of(self, what: str, gap: str) -> dict[str, Any]:
        """What the values are called and how they are drawn."""
        return {
            "estimand": what[0].upper() + what[1:],
            "kind": "path" if np.isfinite(self.time).all() else "points",
            "axes": {"time": self.outcomes[0].per, "estimate": f"{gap} {self._quantity()}".strip()},
            "percent": self.binary,
        }

    @property
    def binary(self) -> bool:
        """Whether all values that count are 0 or 1, so that means are probabilities."""
        used = self.values[self.sample.weights > 0]
        return bool(((used == 0) | (used == 1)).all())

    def _quantity(self) -> str:
        if self.binary:
            return "probability"
        units = {o.unit for o in self.outcomes}
        unit = f" ({units.pop()})" if len(units) == 1 and "" not in units else ""
        return (self.outcomes[0].words if len(self.outcomes) == 1 else "mean") + unit


def _logs(mean: Array, scores: Array, odds: bool) -> tuple[Array, Array]:
    """Logarithms of means, or of their odds, and their scores; not finite where there is none."""
    left = 1 - mean if odds else np.ones_like(mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(mean / left), scores / (mean * left if odds else mean)


def measured(sample: Sample, outcome: Names, *, several: bool = False) -> Measured:
    """The outcomes asked for, all of the study's if none is named. Refuses studies without two arms, or ``several``."""
    _ = sample.every_arm if several else sample.arms  # refuses staggered adoption in words
    if sample.study.estimand in ("ATO", "ATM") and sample.nuisance is None:
        raise ValueError(
            f"The study asks for the {sample.study.estimand}, an effect on a group that weights define, and this "
            "sample has no such weights: take it through propensity.weight first, or revise the estimand."
        )
    outcomes = sample.measured(outcome)
    blocks = [np.asarray(sample.outcome(o.name), float) for o in outcomes]
    blocks = [b.reshape(len(sample), -1) for b in blocks]
    times = [sample.periods.get(o.name, np.array([np.nan])) for o in outcomes]
    words = [np.repeat(o.words, b.shape[1]) for o, b in zip(outcomes, blocks, strict=True)]
    return Measured(sample, outcomes, np.column_stack(blocks), np.concatenate(words), np.concatenate(times))
