"""Learners of the reader's choice for the models of outcome and treatment."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from impact.core import arguments, crossfit
from impact.core.doubly_robust import Levels
from impact.matching.measured import Measured
from impact.sample import Sample
from impact.show.words import counted

Array = np.ndarray


class Learners(NamedTuple):
    """Who predicts outcomes and treatment, and how the units are dealt into folds."""

    outcome: Any
    treatment: Any
    folds: int
    rng: Any
    n_jobs: int | None

    def words(self) -> str:
        outcome = "linear regression" if self.outcome is None else type(self.outcome).__name__
        treatment = "logistic regression" if self.treatment is None else type(self.treatment).__name__
        return (
            f"outcomes by {outcome} within each arm and treatment by {treatment}, combined (doubly robust), "
            f"cross-fitted in {self.folds} folds"
        )


def cross_fitted(asked: Measured, x: Array, by: Learners) -> tuple[Levels, list[str]]:
    """The doubly robust means with cross-fitted learners, and what to tell a reader about them."""
    sample = asked.sample
    _refuse(sample, by)
    y, d, w = asked.values, sample.treated, sample.weights
    # Learners that look at the order of rows see one that the rows themselves decide.
    order = np.lexsort((*y.T, *x.T, d, sample.cluster))
    back = np.argsort(order)
    seed = int(np.random.default_rng(by.rng).integers(2**31))
    predicted = crossfit.predict(
        y[order],
        d[order],
        x[order],
        w[order],
        crossfit.folds(sample.cluster, by.folds, seed)[order],
        outcome_model=by.outcome,
        treatment_model=by.treatment,
        seed=seed,
        n_jobs=by.n_jobs,
    )
    predicted = crossfit.Predicted(*(part[back] for part in predicted))
    return crossfit.levels(y, d, w, predicted, sample.study.estimand), _extreme(predicted.probability[w > 0])


def _refuse(sample: Sample, by: Learners) -> None:
    for name, model in (("outcome_model", by.outcome), ("treatment_model", by.treatment)):
        if model is not None and not (hasattr(model, "fit") and hasattr(model, "get_params")):
            raise ValueError(
                f"`{name}` is {model!r}, and is a learner of scikit-learn (with `fit` and `get_params`): give one, or "
                "leave it out for a regression."
            )
    arguments.seed(by.rng, "rng")
    arguments.number(by.n_jobs, "n_jobs", whole=True, optional=True)
    clusters = len(np.unique(sample.cluster[sample.weights > 0]))
    if isinstance(by.folds, bool) or not isinstance(by.folds, int | np.integer) or not 2 <= by.folds <= clusters:
        raise ValueError(
            f"`folds` is {by.folds!r}, and is a whole number from 2 to the number of independent clusters, here "
            f"{clusters:,}: set 5, say."
        )
    if by.treatment is not None and not hasattr(by.treatment, "predict_proba"):
        raise ValueError(
            f"{type(by.treatment).__name__} was given as the model of treatment and predicts no probabilities: give a "
            "classifier with `predict_proba`."
        )


def _extreme(probability: Array) -> list[str]:
    low = crossfit.BOUND
    count = int(((probability < low) | (probability > 1 - low)).sum())
    if not count:
        return []
    return [
        f"{counted(count, 'unit')} had a predicted probability of treatment below {low} or above {1 - low}, taken as "
        "that: they are nearly certain of their arm, and the estimate leans on the model of outcomes for them."
    ]
