"""Any learner for the models of outcome and treatment, each unit predicted by learners that never saw it.

The clusters are dealt at random into folds. For each fold the models are fitted on the other folds and
predict this one; the mean outcome under each arm is then the doubly robust mean of ``doubly_robust.py``
with these predictions in the place of regressions. Because the mean moves with errors of the two models
only through their product, its error may take them as known, if they are not too far off:

    score_i = w_i 1(i in P) (m_a(x_i) - mean) / w(P) + w_i 1(d_i = a) r_a(x_i) (y_i - m_a(x_i) - mean) / sum w 1 r

References: chernozhukov2018, robins1994.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from impact.core.doubly_robust import Levels
from impact.core.linear import least_squares
from impact.core.logit import logit
from impact.core.moments import mean, mean_scores

Array = np.ndarray

BOUND = 0.01
"""Probabilities of treatment are kept this far off 0 and 1."""


class Predicted(NamedTuple):
    """(n, k) outcomes expected with and without treatment, and (n,) the probability of treatment."""

    treated: Array
    comparison: Array
    probability: Array


def folds(cluster: Array, count: int, rng: Any) -> Array:
    """(n,) the fold of each unit: whole clusters, dealt at random in equal numbers."""
    code = np.unique(cluster, return_inverse=True)[1]
    clusters = int(code.max()) + 1
    dealt = np.random.default_rng(rng).permutation(np.arange(clusters) % count)
    return dealt[code]


def predict(
    y: Array,
    d: Array,
    x: Array,
    w: Array,
    fold: Array,
    *,
    outcome_model: Any = None,
    treatment_model: Any = None,
    seed: int = 0,
    n_jobs: int | None = 1,
) -> Predicted:
    """Predictions for all rows from fits without their fold; y (n, k). None means a linear or logistic regression.

    Each fit has a seed of its own, so that the answer does not depend on ``n_jobs``.
    """
    from joblib import Parallel, delayed

    tasks: list[tuple[int, Callable[..., Array], tuple[Any, ...]]] = []
    for f in range(int(fold.max()) + 1):
        test, train = fold == f, (fold != f) & (w > 0)
        _ask_for_arms(d, train)
        tasks.append((f, _probability, (treatment_model, d[train], x[train], w[train], x[test])))
        for arm in (True, False):
            mine = train & (d == arm)
            for j in range(y.shape[1]):
                tasks.append((f, _expectation, (outcome_model, y[mine, j], x[mine], w[mine], x[test])))
    seeds = np.random.SeedSequence(seed).generate_state(len(tasks))
    found = Parallel(n_jobs=n_jobs)(
        delayed(work)(*about, int(s)) for (_, work, about), s in zip(tasks, seeds, strict=True)
    )
    k = y.shape[1]
    probability, expected = np.zeros(len(d)), np.zeros((2, len(d), k))
    for start in range(0, len(tasks), 1 + 2 * k):
        test = fold == tasks[start][0]
        probability[test] = found[start]
        for a in (0, 1):
            expected[a, test] = np.column_stack(found[start + 1 + a * k : start + 1 + (a + 1) * k])
    return Predicted(expected[0], expected[1], probability)


def levels(y: Array, d: Array, w: Array, by: Predicted, estimand: str) -> Levels:
    """The mean outcome (k,) of the population of interest under each arm, doubly robust, with scores (n, k)."""
    target = {"ATT": d, "ATC": ~d, "ATE": np.ones(len(d), bool)}[estimand]
    p = np.clip(by.probability, BOUND, 1 - BOUND)
    found = {}
    for arm, expected, mine in ((True, by.treated, p), (False, by.comparison, 1 - p)):
        inside = d == arm
        if estimand == ("ATT" if arm else "ATC"):
            found[arm] = mean(y, w * inside), mean_scores(y, w * inside)
            continue
        over, v = w * target, w * inside * (1 / mine if estimand == "ATE" else (1 - mine) / mine)
        left = y - expected
        found[arm] = mean(expected, over) + mean(left, v), mean_scores(expected, over) + mean_scores(left, v)
    return Levels(found[True][0], found[False][0], found[True][1], found[False][1], None, {})


def _probability(model: Any, d: Array, x: Array, w: Array, new: Array, seed: int) -> Array:
    if model is None:
        fit = logit(d, x, w)
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-(fit.coordinates.of(new) @ fit.coefficients))))
    return _positive(_fitted(model, d, x, w, seed), new)


def _expectation(model: Any, y: Array, x: Array, w: Array, new: Array, seed: int) -> Array:
    if model is None:
        return least_squares(y, x, w).predict(new)
    if not hasattr(model, "predict_proba"):
        return np.asarray(_fitted(model, y, x, w, seed).predict(new), float)
    if not np.isin(y, (0, 1)).all():
        raise ValueError(
            "A classifier was given as the model of an outcome that is not 0 or 1 throughout: give a regressor."
        )
    if np.ptp(y) == 0:
        return np.full(len(new), float(y[0]))  # nothing to tell apart, and classifiers ask for two classes
    return _positive(_fitted(model, y > 0.5, x, w, seed), new)


def _positive(fitted: Any, new: Array) -> Array:
    return np.asarray(fitted.predict_proba(new)[:, list(fitted.classes_).index(True)], float)


def _fitted(model: Any, y: Array, x: Array, w: Array, seed: int) -> Any:
    """A copy of the learner, fitted; where it draws at random and has no seed of its own, with this one."""
    from sklearn.base import clone

    own = clone(model)
    loose = {name: seed for name, value in own.get_params().items() if name.endswith("random_state") and value is None}
    own.set_params(**loose)
    if np.ptp(w) <= 1e-12 * w.max():
        return own.fit(x, y)
    return own.fit(x, y, **{_weights_name(own): w / w.mean()})


def _weights_name(model: Any) -> str:
    from sklearn.utils.validation import has_fit_parameter

    steps = getattr(model, "steps", None)
    last, name = (steps[-1][1], f"{steps[-1][0]}__sample_weight") if steps else (model, "sample_weight")
    if not has_fit_parameter(last, "sample_weight"):
        raise ValueError(
            f"The units have unequal weights, and {type(last).__name__} takes no weights: choose a learner whose `fit` "
            "has `sample_weight`."
        )
    return name


def _ask_for_arms(d: Array, train: Array) -> None:
    treated, comparison = int((d & train).sum()), int((~d & train).sum())
    if min(treated, comparison) < 2:
        raise ValueError(
            f"Without one of the folds, {treated} treated and {comparison} comparison units are left to learn from: "
            "ask for other `folds`, or use larger samples."
        )
