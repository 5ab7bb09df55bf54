"""What methods for several arms share: the model of the arms, whose effect it is, and the estimate of all pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from impact.core.multinomial import MultinomialFit, multinomial
from impact.estimate import Estimate
from impact.matching.measured import Measured
from impact.sample import Sample, told
from impact.show.words import counted, listing

Array = np.ndarray


class Means(NamedTuple):
    """The outcomes asked for, and their means (T,) with scores (n, T) in each arm, in the order of ``names``."""

    asked: Measured
    values: Sequence[Array]
    scores: Sequence[Array]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.asked.sample.every_arm)

    def levels(self, **about: Any) -> Estimate:
        """A value for each arm, outcome and period."""
        labels = self._labels(len(self.names))
        labels = {"outcome": labels.pop("outcome"), "group": np.repeat(self.names, len(self.asked.words)), **labels}
        words = {**self.asked.words_of("mean outcome by arm", ""), "null": None}
        return self._estimate(labels, np.concatenate(self.values), np.column_stack(self.scores), words, about)

    def contrasts(self, *, adjusted: bool = True, **about: Any) -> Estimate:
        """A value for each pair of arms, outcome and period: those with the comparison group first."""
        last = len(self.names) - 1
        pairs = [*((k, last) for k in range(last)), *combinations(range(last), 2)]
        terms = [f"{self.names[a]} less {self.names[b]}" for a, b in pairs]
        labels = self._labels(len(pairs))
        labels = {"outcome": labels.pop("outcome"), "term": np.repeat(terms, len(self.asked.words)), **labels}
        whose = self.asked.sample.study.whose if adjusted else "differences between the arms as they are"
        value = np.concatenate([self.values[a] - self.values[b] for a, b in pairs])
        scores = np.column_stack([self.scores[a] - self.scores[b] for a, b in pairs])
        return self._estimate(labels, value, scores, self.asked.words_of(whose, "difference in"), about)

    def _labels(self, times: int) -> dict[str, Array]:
        return {name: np.tile(column, times) for name, column in self.asked.labels().items()}

    def _estimate(
        self, labels: dict[str, Array], value: Array, scores: Array, words: dict[str, Any], about: dict[str, Any]
    ) -> Estimate:
        return Estimate.of(self.asked.sample, labels, value, scores, **{**words, **about})


def codes(sample: Sample) -> Array:
    """(n,) the arm of each unit: 0 for the comparison group, then the treated arms in the study's order."""
    _ = sample.every_arm  # refuses staggered adoption in words
    return sample.treated.astype(int) if sample.arm is None else sample.arm


def names(sample: Sample) -> tuple[str, ...]:
    """The arms in words, in the order of their codes."""
    *treated, comparison = sample.every_arm
    return (comparison, *treated)


def model(sample: Sample, what: str) -> MultinomialFit:
    """The multinomial regression of the arm on the covariates, with the sample's weights."""
    arm, x = codes(sample), sample.covariates
    if not x.shape[1]:
        raise ValueError(
            f"{what} was asked for, and the study “{sample.study.title}” has no covariates that vary: name in "
            "`covariates` what decided who got what."
        )
    return multinomial(arm, x, sample.weights, told(sample.covariate_names, x), names(sample))


def focused(sample: Sample, focal: Any, estimand: str | None) -> tuple[Sample, str | None]:
    """The sample with ``focal`` first among the treated arms, and the estimand that this makes."""
    if focal is None:
        return sample, estimand
    study = sample.study
    given = [focal == value or focal == name for value, name in zip(_values(sample), sample.every_arm, strict=True)]
    if sum(map(bool, given)) != 1:
        raise ValueError(f"`focal` is {focal!r}, and is one of the study's arms: {', '.join(sample.every_arm)}.")
    at = given.index(True)
    own = "ATC" if at == len(given) - 1 else "ATT"
    if estimand not in (None, own):
        raise ValueError(
            f"`focal` names the arm whose effect is asked for, which makes it the {own}, and the estimand asked for "
            f"is {estimand!r}: leave one of the two out."
        )
    if own == "ATC" or at == 0:
        return sample, own
    order = [at, *(k for k in range(len(given) - 1) if k != at)]
    place = np.zeros(len(given), int)
    place[[k + 1 for k in order]] = np.arange(1, len(given))
    study = study.revise(treated=tuple(study.treatments[k] for k in order))
    return replace(sample, study=study, arm=place[codes(sample)]), own


def _values(sample: Sample) -> tuple[Any, ...]:
    return (*sample.study.treatments, sample.study.comparison)


def target(estimand: str) -> int | None:
    """The code of the arm whose effect is asked for; None for the effect on everybody."""
    return {"ATT": 1, "ATC": 0}.get(estimand)


def barred(fit: MultinomialFit, rows: Array, consequence: str) -> tuple[str, ...]:
    """A note on those of the rows (n,) bool whose covariates an arm never has: it cannot stand in for them."""
    count = int((fit.barred.any(axis=1) & rows).sum())
    if not count:
        return ()
    which = listing(f"`{name}`" for name in fit.names[:5])
    more = f" and {len(fit.names) - 5} more" if len(fit.names) > 5 else ""
    return (
        f"{counted(count, 'unit')} {'has' if count == 1 else 'have'} covariates that another arm never has "
        f"({which}{more}): {consequence}",
    )
